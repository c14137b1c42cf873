"""Messages to running runs: cancel, pause, resume, signals and decisions. Only the owner changes a run; everyone else writes to its inbox."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from runtime.definition.inputs import check_value
from runtime.definition.model import Signal
from runtime.engine.state import RunState
from runtime.engine.states import TERMINAL_RUN, RunStatus, StepStatus, WaitingFor
from runtime.errors import Conflict, InputInvalid, NotFound, RunEnded
from runtime.gateway.payloads import keep, moved
from runtime.gateway.reads import Reads
from runtime.ids import uuid7
from runtime.store.protocol import Message, MessageKind, Removal, RunQuery, RunRow, SendOutcome

_OPEN = tuple(status.value for status in RunStatus if status not in TERMINAL_RUN)
_PAGE = 500


class Mailbox(Reads):
    """What changes a run that exists. A message is on disk when the method returns, and is applied exactly once."""

    async def cancel(self, tenant: str, run_id: str, *, reason: str | None = None, by: str | None = None) -> RunRow:
        """Once accepted the run ends `canceled`, whatever happens. Raises NotFound, RunEnded."""
        body = {key: value for key, value in (("reason", reason), ("by", by)) if value is not None}
        return await self._tell(tenant, run_id, MessageKind.CANCEL, body, message_id="cancel")

    async def pause(self, tenant: str, run_id: str) -> RunRow:
        """Start no new step; those under way finish. Raises NotFound, RunEnded."""
        return await self._tell(tenant, run_id, MessageKind.PAUSE, {})

    async def resume(self, tenant: str, run_id: str, *, budget: dict[str, Any] | None = None, by: str | None = None) -> RunRow:
        """Go on after a pause; changes nothing for a run that is not paused. With `budget`, limits as the journal has them, the root run has
        these from then on. Runs its steps have started that wait for money go on as well. Raises NotFound, RunEnded."""
        body = {"budget": budget, **({"by": by} if by is not None else {})} if budget else {}
        row = await self._tell(tenant, run_id, MessageKind.RESUME, body)
        if not row.status.ended:
            await self._resume_children(tenant, run_id, body)
        return row

    async def _resume_children(self, tenant: str, run_id: str, body: dict[str, Any]) -> None:
        """Of the runs below this one, those that are paused because a budget was used up. At most MAX_DEPTH levels exist."""
        before = None
        while True:
            page = await self.journal.runs(RunQuery(tenant, parent_run=run_id, status=_OPEN, before=before, limit=_PAGE))
            for child in page:
                if child.waiting_for == WaitingFor.BUDGET:
                    await self.journal.send(Message(child.run_id, uuid7(), MessageKind.RESUME, body, self.clock.now()))
                    self.runner.nudge([child.run_id])
                await self._resume_children(tenant, child.run_id, body)
            if len(page) < _PAGE:
                return
            before = page[-1].run_id

    async def remove(self, tenant: str, run_id: str) -> None:
        """Remove an ended run with all that belongs to it; its content in the artifact store goes later, when no other run names it.

        Raises NotFound, and Conflict while it, its parent or one of its children has not ended.
        """
        row = await self.run(tenant, run_id)
        outcome = await self.journal.remove(run_id)
        if outcome is Removal.MISSING:
            raise NotFound(f"there is no run {run_id}")
        if outcome is Removal.ACTIVE:
            raise Conflict(f"the run is {row.status}; cancel it first", run_id=run_id)
        if outcome is Removal.NEEDED:
            raise Conflict("the run belongs to one that has not ended", run_id=run_id)

    async def signal(self, tenant: str, run_id: str, name: str, payload: Any, *, idempotency_key: str | None = None) -> RunRow:
        """Deliver a signal; it is kept until the step that waits for it comes.

        Raises NotFound (also when no step of the workflow waits for this name), InputInvalid, RunEnded.
        """
        row = await self.run(tenant, run_id)
        state = await self._folds.state(run_id, await self.plan(row))
        problems = check_value(schema, payload) if (schema := _signal_schema(state, name)) is not None else []
        if problems:
            raise InputInvalid(f"the payload does not fit signal {name}", problems=moved(problems, "/payload"), run_id=run_id)
        body = {"name": name, "payload": await keep(payload, self.artifacts, limit=self.settings.max_input_bytes, pointer="/payload")}
        return await self._tell(tenant, run_id, MessageKind.SIGNAL, body, message_id=_message_id(idempotency_key))

    async def decide_step(
        self,
        tenant: str,
        run_id: str,
        step: str,
        action: str,
        *,
        index: int | None = None,
        output: Any = None,
        idempotency_key: str | None = None,
    ) -> RunRow:
        """Say what became of an attempt whose effect is unknown: `retry`, `fail`, or `succeed` with its output.

        Raises NotFound, Conflict when the step does not wait for a decision, RunEnded.
        """
        found, _ = await self.step(tenant, run_id, step)
        if found.status is not StepStatus.WAITING or (found.waiting or {}).get("for") != "decision":
            raise Conflict(f"step {step} does not wait for a decision; it is {found.status}", run_id=run_id)
        body: dict[str, Any] = {"step": step, "action": action}
        if index is not None:
            body["index"] = index
        if action == "succeed":
            body["output"] = await keep(output, self.artifacts, limit=self.settings.max_output_bytes, pointer="/output")
        return await self._tell(tenant, run_id, MessageKind.DECISION, body, message_id=_message_id(idempotency_key))

    async def _tell(self, tenant: str, run_id: str, kind: MessageKind, body: dict[str, Any], message_id: str | None = None) -> RunRow:
        """Put a message into the run's inbox and say so. The row returned was read after the message was written."""
        await self.run(tenant, run_id)
        outcome = await self.journal.send(Message(run_id, message_id or uuid7(), kind, body, self.clock.now()))
        row = await self.run(tenant, run_id)
        if outcome is SendOutcome.ENDED:
            raise RunEnded(f"the run has already ended: it {_END[row.status]}", run_id=run_id)
        if outcome is SendOutcome.MISSING:
            raise NotFound(f"there is no run {run_id}", run_id=run_id)
        self.runner.nudge([run_id])
        self.feeds.hurry(run_id)
        return row


_END = {"succeeded": "succeeded", "failed": "failed", "canceled": "was canceled"}


def _message_id(idempotency_key: str | None) -> str | None:
    return None if idempotency_key is None else f"key:{idempotency_key}"


def _signal_schema(state: RunState, name: str) -> Any:
    """The schema of the step that will take this signal: the first that has not ended. Raises NotFound when no step ever waits for it."""
    waiting = list(_signal_steps(state))
    for step, signal in waiting:
        if signal.name == name and not state.steps[step].status.ended:
            return signal.payload
    if any(signal.name == name for _, signal in waiting):
        return None
    close = get_close_matches(name, [signal.name for _, signal in waiting], 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise NotFound(f"no step of workflow {state.plan.definition.name} waits for signal {name[:100]}{hint}", run_id=state.run_id)


def _signal_steps(state: RunState) -> Iterator[tuple[str, Signal]]:
    for name in (*state.plan.main, *state.plan.final):
        signal = state.plan.steps[name].step.signal
        if signal is not None:
            yield name, signal
