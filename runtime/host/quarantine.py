"""A run whose journal or turn breaks an invariant is failed with its evidence kept; the server and its neighbours go on."""

from typing import Any

import structlog

from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.errors import AgenticError, JournalDamaged, RunPoisoned
from runtime.host.ends import tell
from runtime.store.protocol import Append, AppendOutcome, Journal, RunRow
from runtime.tracing.spans import Tracer

log = structlog.get_logger(__name__)


async def quarantine(journal: Journal, row: RunRow, failure: Exception, now: int, tracer: Tracer | None = None) -> None:
    """End the run as `failed` with code `broken_run` or `poison`; a run being canceled ends `canceled`. Raises StoreUnavailable."""
    log.error("run_quarantined", run_id=row.run_id, exc_info=failure)
    current = await journal.run(row.run_id)
    if current is None or current.status.ended or current.epoch != row.epoch:
        return
    error = _error(failure)
    canceled = current.cancel_requested_at is not None
    kind, status = (Kind.RUN_CANCELED, RunStatus.CANCELED) if canceled else (Kind.RUN_FAILED, RunStatus.FAILED)
    event = Event(current.head + 1, current.epoch, kind, now, body=None if canceled else {"error": error})
    append = Append(row.run_id, current.epoch, current.head, (event,), status, ended_at=now, error=None if canceled else error, release=True)
    if await journal.append(append) is AppendOutcome.COMMITTED and tracer is not None:
        tell(tracer, row, await _trace(journal, row.run_id), status=status.value, ended_at=now, error=None if canceled else error["code"])


async def _trace(journal: Journal, run_id: str) -> str | None:
    try:
        created = await journal.events(run_id, limit=1)
    except JournalDamaged:
        return None  # that may be why it is here
    return (created[0].body or {}).get("traceparent") if created else None


def _error(failure: Exception) -> dict[str, Any]:
    if isinstance(failure, RunPoisoned):
        return {"code": failure.code, "message": str(failure), "retryable": False}
    cause = failure.code if isinstance(failure, AgenticError) else type(failure).__name__
    return {"code": "broken_run", "message": f"the run cannot go on: {cause}", "retryable": False}
