"""The end of a run as its trace tells it. Called after the commit of the end, by the owner that wrote it: once, or never when it dies just then."""

from runtime.engine.state import RunState
from runtime.engine.states import RunStatus
from runtime.store.protocol import RunRow
from runtime.tracing import names
from runtime.tracing.spans import Tracer


def trace_end(tracer: Tracer | None, row: RunRow, state: RunState) -> None:
    """The span of a run, if it has ended and if there is a tracer."""
    if tracer is not None and state.ended and state.ended_at is not None:
        failed = (state.error or {}).get("code", "unknown") if state.status is RunStatus.FAILED else None
        tell(tracer, row, state.traceparent, status=state.status.value, ended_at=state.ended_at, error=failed)


def tell(tracer: Tracer, row: RunRow, traceparent: str | None, *, status: str, ended_at: int, error: str | None) -> None:
    """The span of a run whose state is not at hand."""
    attributes = {
        names.WORKFLOW_NAME: row.workflow,
        names.RUN_STATUS: status,
        names.RUN_MODE: row.mode,
        names.TENANT: row.tenant,
    }
    tracer.run_ended(traceparent, run_id=row.run_id, created_at=row.created_at, ended_at=ended_at, attributes=attributes, error=error)
