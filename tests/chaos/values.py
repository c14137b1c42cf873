"""What the outside world of the trials computes: the same in the witness, in the step functions and in the oracle."""

import hashlib
import json
import re
from typing import Any

MODULUS = 1_000_000_007
SCRIPT = re.compile(r"\[\[script: *(?P<kind>[\w.-]+)(?P<options>(?: +[\w.-]+=[^\s\]]+)*)(?: +x(?P<times>\d+))? *\]\]")
TAG = re.compile(r"\[\[tag: *(?P<tag>[^\]\s]+) *\]\]")


def digest(value: Any) -> int:
    """A whole number that stands for any JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % MODULUS


def effect_value(tag: str, parts: Any) -> int:
    """What the ledger answers to an effect."""
    return digest(["effect", tag, parts])


def answer_value(prompt: str) -> int:
    """What the model answers to a prompt; scripts inside of it do not count, they are for the wire alone."""
    return digest(["answer", SCRIPT.sub("", prompt).strip()])


def form_value(show: Any) -> int:
    """What the person fills into the form of an approval that shows this."""
    return digest(["form", show]) % 1000


def signal_value(token: str, name: str) -> int:
    """What the message of this name says to the run with this token."""
    return digest(["signal", token, name])
