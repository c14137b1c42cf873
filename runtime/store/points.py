"""Which fail points (runtime/failpoints.py) a batch passes on its way to the disk."""

from collections.abc import Iterator, Sequence
from typing import Any

from runtime.engine.events import RUN_ENDS, STEP_ENDS, Kind
from runtime.failpoints import reach
from runtime.store.codec import checksum
from runtime.store.operations import Deliver, Operation, Row, SubmitRuns, TakeRuns, WriteTurn
from runtime.store.protocol import MessageKind, Submitted

_INTENTS = frozenset({Kind.STEP_STARTED, Kind.ITEMS_STARTED})
_RESULTS = frozenset({*STEP_ENDS, Kind.STEP_ITERATED, Kind.STEP_RETRYING, Kind.ITEMS_FINISHED, Kind.CALL_FINISHED})
_MAIL = {MessageKind.CANCEL: "cancel", MessageKind.APPROVAL: "approval", MessageKind.SIGNAL: "signal"}


def pass_points(batch: Sequence[Operation[Any]], moment: str) -> None:
    """Reach `<what>.<moment>` for everything this batch is about; `moment` is `before_commit` or `after_commit`."""
    for name in dict.fromkeys(name for operation in batch for name in _names(operation)):
        reach(f"{name}.{moment}")


def acknowledge_early(batch: Sequence[Operation[Any]]) -> None:
    """The fence `acknowledge` is out: tell who submits that all is well before anything is on disk."""
    for operation in batch:
        if isinstance(operation, SubmitRuns) and not operation.future.done():
            operation.future.set_result([Submitted(run.new.row.run_id, created=True) for run in operation.runs])


def renumber(rows: Sequence[Row], head: int) -> None:
    """The fence `head` is out: number events behind whatever is there, or else the primary key would be one guard more."""
    for seq, row in enumerate(rows, head + 1):
        row["seq"] = seq
        row["crc"] = checksum(row["run_id"], tuple(row[name] for name in ("seq", "epoch", "kind", "step", "attempt", "body", "at")))


def _names(operation: Operation[Any]) -> Iterator[str]:
    if isinstance(operation, SubmitRuns):
        yield "submit"
    elif isinstance(operation, TakeRuns):
        if operation.outcome:
            yield "claim"
    elif isinstance(operation, Deliver):
        if (name := _MAIL.get(operation.mail.message.kind)) is not None:
            yield name
    elif isinstance(operation, WriteTurn):
        kinds = {event.kind for event in operation.append.events}
        if kinds & _INTENTS:
            yield "intent"
        if kinds & _RESULTS:
            yield "result"
        if kinds.intersection(RUN_ENDS):
            yield "terminal"
