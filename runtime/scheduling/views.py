"""Schedules and ticks as JSON. `runtime/api/schedule_answers.py` documents each."""

from typing import Any

from runtime.clock import rfc3339
from runtime.schedules.spec import load_spec
from runtime.store.schedules.protocol import ScheduleRow, Standing, TickRow


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def schedule(row: ScheduleRow) -> dict[str, Any]:
    """A schedule as lists show it. `explained` says each rule in English."""
    spec = load_spec(row.spec)
    return {
        "schedule_id": row.schedule_id,
        "name": row.name,
        **row.spec,
        "explained": spec.explained,
        "paused": row.paused,
        "note": row.note,
        "etag": row.etag,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
        "last_tick": _time(row.last_tick),
        "next_tick": None if row.paused else _time(row.next_tick),
        "next_at": _time(row.next_at),
        "error": row.error,
    }


def schedule_detail(row: ScheduleRow, standing: Standing) -> dict[str, Any]:
    """The same with what is under way."""
    return {**schedule(row), "running": list(standing.running), "waiting": standing.waiting}


def tick(row: TickRow) -> dict[str, Any]:
    """What became of a tick, or of `count` missed ones from `tick` to `last_tick`."""
    return {
        "tick": rfc3339(row.tick),
        "last_tick": rfc3339(row.last_tick),
        "count": row.count,
        "due_at": rfc3339(row.due_at),
        "outcome": row.outcome.value,
        "reason": None if row.reason is None else row.reason.value,
        "backfill": row.overlap is not None,
        "run_id": row.run_id,
        "error": row.error,
        "recorded_at": rfc3339(row.recorded_at),
        "settled_at": rfc3339(row.settled_at),
    }


def upcoming(tick_at: int, due: int) -> dict[str, Any]:
    """A tick to come."""
    return {"tick": rfc3339(tick_at), "due_at": rfc3339(due)}
