"""How values stand in the database: JSON as text, events with a checksum over every column."""

import json
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from pydantic_core import PydanticSerializationError, from_json, to_json

from runtime.engine.events import Event, Kind
from runtime.errors import JournalDamaged, PayloadTooLarge

_KINDS = {kind.value: kind for kind in Kind}


def plain_text(text: str) -> str:
    """`text` without what PostgreSQL's TEXT cannot hold: U+0000 and lone surrogates become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def to_text(value: Any) -> str:
    """JSON of `value`. U+0000 is escaped by JSON itself; lone surrogates become U+FFFD. Raises PayloadTooLarge when nested too deeply."""
    try:
        return to_json(value, inf_nan_mode="strings").decode()
    except PydanticSerializationError as error:
        if "surrogates not allowed" not in str(error):
            raise PayloadTooLarge("the value is nested too deeply or is not JSON") from error
        return to_json(_without_surrogates(value), inf_nan_mode="strings").decode()


def to_text_or_none(value: Any) -> str | None:
    """SQL NULL for None, JSON for everything else."""
    return None if value is None else to_text(value)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value


def from_text(text: str) -> Any:
    """The value of a JSON text."""
    try:
        return from_json(text)
    except ValueError:
        # The fast parser stops at 200 levels of nesting, the writer only at 250.
        return json.loads(text)


def from_text_or_none(text: str | None) -> Any:
    """The inverse of `to_text_or_none`."""
    return None if text is None else from_text(text)


def checksum(run_id: str, row: Sequence[Any]) -> int:
    """CRC-32 over `(seq, epoch, kind, step, attempt, body, at)` of an event and the run it belongs to."""
    seq, epoch, kind, step, attempt, body, at = row
    return crc32(f"{run_id}|{seq}|{epoch}|{kind}|{step}|{attempt}|{at}|{body}".encode())


def event_row(run_id: str, event: Event) -> dict[str, Any]:
    """The row of `events` that holds `event`."""
    kind, body = event.kind.value, to_text_or_none(event.body)
    crc = checksum(run_id, (event.seq, event.epoch, kind, event.step, event.attempt, body, event.at))
    return {
        "run_id": run_id,
        "seq": event.seq,
        "epoch": event.epoch,
        "kind": kind,
        "step": event.step,
        "attempt": event.attempt,
        "body": body,
        "at": event.at,
        "crc": crc,
    }


def read_event(run_id: str, row: Sequence[Any]) -> Event:
    """The event of a row `(seq, epoch, kind, step, attempt, body, at, crc)`. Raises JournalDamaged."""
    seq, epoch, kind, step, attempt, body, at, crc = row
    if kind not in _KINDS or checksum(run_id, row[:7]) != crc:
        raise JournalDamaged(f"event {seq} of run {run_id} does not match its checksum", run_id=run_id)
    return Event(seq, epoch, _KINDS[kind], at, step, attempt, from_text_or_none(body))
