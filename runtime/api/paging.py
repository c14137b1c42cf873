"""Cursor pages: opaque tokens, and filters parsed without trust."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query

from runtime.errors import Problem, RequestInvalid

PageSize = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
PageToken = Annotated[str | None, Query(max_length=400, description="`next_page_token` of the page before.")]


def encode(cursor: str | int | None) -> str | None:
    """A cursor as the token a client sends back."""
    return None if cursor is None else base64.urlsafe_b64encode(str(cursor).encode()).decode().rstrip("=")


def decode(token: str | None) -> str | None:
    """The cursor. Raises RequestInvalid for what this server did not give out."""
    if token is None:
        return None
    try:
        cursor = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid("page_token", "this is not a page token") from None
    if not cursor.isprintable() or encode(cursor) != token:
        raise invalid("page_token", "this is not a page token")
    return cursor


def decode_number(token: str | None) -> int | None:
    """The same for a cursor that counts. Raises RequestInvalid."""
    cursor = decode(token)
    if cursor is None:
        return None
    if not (cursor.isdecimal() and cursor.isascii() and len(cursor) <= 15):
        raise invalid("page_token", "this is not a page token")
    return int(cursor)


def page(name: str, shown: Sequence[Any], *, full: bool, cursor: str | int | None) -> dict[str, Any]:
    """A page; a full one has a token for the next."""
    return {name: shown, "next_page_token": encode(cursor) if full and shown else None}


def moment(name: str, text: str | None) -> int | None:
    """An RFC 3339 time as ms. Raises RequestInvalid."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise invalid(name, "this is not a time such as 2026-01-31T12:00:00Z") from None


def labels(given: Sequence[str]) -> dict[str, str]:
    """`key=value` filters. Raises RequestInvalid."""
    found = {}
    for text in given:
        key, mark, value = text.partition("=")
        if not (key and mark and text.isprintable()):
            raise invalid("label", "write a label as key=value")
        found[key] = value
    return found


def invalid(name: str, detail: str) -> RequestInvalid:
    """A bad query parameter."""
    return RequestInvalid(f"{name}: {detail}", problems=[Problem(f"/query/{name}", detail)])
