"""What a provider says beside its answer: the headers of the responses a request led to, for whoever made the request."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

_LISTENS: ContextVar["Heard | None"] = ContextVar("heard", default=None)
"""Of the task that asks. The SDKs in between hand headers on in ways of their own, or not at all."""


@dataclass(slots=True)
class Heard:
    """`headers` of the last response, names in lower case; empty when there was none."""

    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def listening() -> Iterator[Heard]:
    """What the transport tells within the block."""
    heard = Heard()
    token = _LISTENS.set(heard)
    try:
        yield heard
    finally:
        _LISTENS.reset(token)


def tell(headers: Mapping[str, str]) -> None:
    """A response has these headers."""
    heard = _LISTENS.get()
    if heard is not None:
        heard.headers = {name.lower(): value for name, value in headers.items()}
