"""Making a text shorter without making it wrong."""

import re
from typing import Any


def shorten(text: str, remark: str, max_words: int) -> dict[str, Any]:
    """`{text, words, fits}` with one sentence less than before, unless it fits already.

    The sentence that shares the fewest words with the readers' last remark goes; the first one, which says what it is about, stays.
    """
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]
    if len(text.split()) > max_words and len(sentences) > 1:
        asked = set(re.findall(r"\w{4,}", remark.lower()))
        weakest = min(range(1, len(sentences)), key=lambda place: (len(asked & set(re.findall(r"\w{4,}", sentences[place].lower()))), -place))
        del sentences[weakest]
    shorter = " ".join(sentences)
    words = len(shorter.split())
    return {"text": shorter, "words": words, "fits": words <= max_words or len(sentences) == 1}
