"""What the journal holds. Every change of a run is one of these facts; a run's state is their fold."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from runtime.errors import InvalidTransition


class Kind(StrEnum):
    """The kind of an event: the word in the database, in SSE and in the docs."""

    RUN_CREATED = "run.created"
    """seq 1, written by the submit. body: {workflow, definition, inputs, mode, seed, parent?, forked_from?, traceparent?, labels, user?, budget?}"""
    RUN_CLAIMED = "run.claimed"
    """A new owner begins a new epoch. body: {owner}"""
    RUN_STARTED = "run.started"
    RUN_WAITING = "run.waiting"
    """body: {waiting_for}"""
    RUN_WOKEN = "run.woken"
    RUN_PAUSED = "run.paused"
    """body when a budget is used up: {waiting_for: budget, budget, message}"""
    RUN_RESUMED = "run.resumed"
    """body when a person gives it another budget: {budget, by?}"""
    RUN_FAILING = "run.failing"
    """The run as a whole has failed (its deadline, a broken invariant) and is being wound up. body: {error}"""
    RUN_CANCELING = "run.canceling"
    """body: {reason?, by?}"""
    RUN_SUCCEEDED = "run.succeeded"
    """body: {output}"""
    RUN_FAILED = "run.failed"
    """body: {error}"""
    RUN_CANCELED = "run.canceled"

    STEP_SCHEDULED = "step.scheduled"
    STEP_STARTED = "step.started"
    """The intent, committed before the effect. body: {iteration?, total? (of a map), conversation? (its name)}; attempt counts from 1"""
    STEP_WAITING = "step.waiting"
    """body: {for: timer|approval|signal|child|decision, due? (ms), child? (run id), …}"""
    STEP_ITERATED = "step.iterated"
    """One iteration of a loop has ended and another follows. body: {iteration, output, messages?, conversation?, artifacts?}"""
    STEP_RETRYING = "step.retrying"
    """An attempt failed and another follows. body: {error, due (ms)}"""
    STEP_SUCCEEDED = "step.succeeded"
    """body: {output, signal? (of a signal step: {name, message_id} of the message it took), messages? and conversation? (of an agent),
    artifacts?: [{name, $artifact}, …]}; of a map {failed?: how many items failed}"""
    STEP_FAILED = "step.failed"
    """body: {error}"""
    STEP_SKIPPED = "step.skipped"
    """body: {reason}"""
    STEP_CANCELED = "step.canceled"
    STEP_REUSED = "step.reused"
    """A finished step taken over from the run this one was forked from. body: {output, from, messages?, artifacts?}; of a map, after its
    items, {from, artifacts?}"""

    ITEMS_STARTED = "items.started"
    """Intents of a map's items. body: {items: [[first, last], …], attempt}"""
    ITEMS_FINISHED = "items.finished"
    """body: {done: [[index, output], …], failed: [[index, attempt, error], …], retrying: [[index, attempt, error, due], …],
    artifacts?: [{name, $artifact}, …]}"""
    ITEMS_REUSED = "items.reused"
    """Finished items taken over from the run this one was forked from. body: {done: [[index, output], …], failed?: […]}"""

    APPROVAL_REQUESTED = "approval.requested"
    """body: {approval_id, message, form?, show?, expires_at?}"""
    APPROVAL_RESOLVED = "approval.resolved"
    """body: {approval_id, approved, decision, form?, by?, comment?, at}"""
    SIGNAL_RECEIVED = "signal.received"
    """body: {name, payload, message_id}"""
    CALL_FINISHED = "call.finished"
    """A model or tool call inside an agent step, paid for and therefore kept. body: {index?, name, n, id?, asked? (a hash), result, usage?, cached?}"""
    CALL_WAITING = "call.waiting"
    """A tool call waits for a person or a child run; the step goes on when all of its have their answers.
    body: {index?, call (what tells it from the others of its step or item), tool, for: approval|child, id (of the approval or the run), due? (ms)}"""
    CALL_ANSWERED = "call.answered"
    """body: {index?, call, id, result: {approved, form?, comment?, by?} of an approval, {output} or {error} of a child run}"""


RUN_ENDS = (Kind.RUN_SUCCEEDED, Kind.RUN_FAILED, Kind.RUN_CANCELED)
STEP_ENDS = (Kind.STEP_SUCCEEDED, Kind.STEP_FAILED, Kind.STEP_SKIPPED, Kind.STEP_CANCELED, Kind.STEP_REUSED)


@dataclass(frozen=True, slots=True)
class Event:
    """One fact. `seq` counts from 1 without gaps within a run; `at` is milliseconds since the Unix epoch."""

    seq: int
    epoch: int
    kind: Kind
    at: int
    step: str | None = None
    attempt: int | None = None
    body: dict[str, Any] | None = None


def body_of(event: Event) -> dict[str, Any]:
    """The body of an event whose kind has one. Raises InvalidTransition when it came without."""
    if event.body is None:
        raise InvalidTransition(f"{event.kind} came without a body")
    return event.body
