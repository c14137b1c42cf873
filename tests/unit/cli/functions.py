"""Functions the command's test workflows call."""

from pathlib import Path


def save(text: str, context) -> str:
    """Keep the text as an artifact named note.txt."""
    context.save_artifact("note.txt", text, "text/plain")
    return text


def broken_until(flag: str) -> str:
    """Fail until a file exists."""
    if not Path(flag).exists():
        raise ValueError("not yet")
    return "repaired"


def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"
