"""What people give to runs while time stands still: answers to approvals, and signals."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from runtime.engine.state import StepState, step_key
from runtime.engine.states import RunStatus
from runtime.errors import Conflict
from runtime.gateway import Gateway
from runtime.simulation.clock import VirtualClock
from runtime.store.protocol import RunQuery, RunRow

TENANT = "default"
PAGE = 200
OPEN = tuple(status.value for status in RunStatus if not status.ended)


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer to an approval, given `after` ms of waiting."""

    approved: bool
    form: Any = None
    comment: str | None = None
    by: str | None = None
    after: int = 0


@dataclass(frozen=True, slots=True)
class Sending:
    """A signal, sent once a step has waited for it for `after` ms."""

    payload: Any
    after: int = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """A step that waits for somebody."""

    row: RunRow
    step: str
    key: str
    waiting: dict[str, Any]

    @property
    def what(self) -> str:
        """`approval of step review`, `signal remark of step remarks`."""
        kind = self.waiting["for"]
        name = f" {self.waiting['name']}" if kind == "signal" else ""
        return f"{kind}{name} of step {self.step}"


@dataclass(slots=True)
class People:
    """Gives what a script says. `decisions` by step, `sendings` by signal; what is left over at the end was never asked for."""

    decisions: Mapping[str, deque[Decision]] = field(default_factory=dict)
    sendings: Mapping[str, deque[Sending]] = field(default_factory=dict)
    _answered: set[tuple[str, str, str]] = field(default_factory=set)
    _due: list[Callable[[], Awaitable[Any]]] = field(default_factory=list)

    async def act(self, gateway: Gateway, clock: VirtualClock) -> bool:
        """Do what is due now, and set alarms for what people do later. Whether anything was done."""
        due, self._due = self._due, []
        for give in due:
            with suppress(Conflict):  # it comes too late, as it may with people: the run has gone on
                await give()
        if not any(self.decisions.values()) and not any(self.sendings.values()):
            return bool(due)  # looking at every run costs, and nothing is left to give
        async for wish in wishes(gateway):
            mark = (wish.row.run_id, wish.key, str(wish.waiting.get("approval_id")))
            if mark not in self._answered and (found := self._answer(gateway, wish)) is not None:
                self._answered.add(mark)
                give, after = found
                clock.at(clock.now() + after, lambda give=give: self._due.append(give))  # type: ignore[misc]  # mypy does not infer defaults of lambdas
        return bool(due)

    def left(self) -> list[str]:
        """What was never asked for, as sentences."""
        approvals = [f"the answer to approval {step} was not asked for" for step, queue in self.decisions.items() for _ in queue]
        return approvals + [f"nobody waited for signal {name}" for name, queue in self.sendings.items() for _ in queue]

    def _answer(self, gateway: Gateway, wish: Wish) -> tuple[Callable[[], Awaitable[Any]], int] | None:
        if wish.waiting["for"] == "approval":
            decisions = self.decisions.get(f"{wish.row.workflow}/{wish.step}") or self.decisions.get(wish.step)
            return _decided(gateway, wish, decisions.popleft()) if decisions else None
        sendings = self.sendings.get(wish.waiting["name"])
        return _sent(gateway, wish, sendings.popleft(), len(self._answered)) if sendings else None


def _decided(gateway: Gateway, wish: Wish, decision: Decision) -> tuple[Callable[[], Awaitable[Any]], int]:
    def give() -> Awaitable[Any]:
        asked, answer = wish.waiting["approval_id"], {"form": decision.form, "comment": decision.comment, "by": decision.by}
        return gateway.decide(TENANT, asked, approved=decision.approved, **answer)

    return give, decision.after


def _sent(gateway: Gateway, wish: Wish, sending: Sending, number: int) -> tuple[Callable[[], Awaitable[Any]], int]:
    def give() -> Awaitable[Any]:
        return gateway.signal(TENANT, wish.row.run_id, wish.waiting["name"], sending.payload, idempotency_key=f"given-{number}")

    return give, sending.after


async def wishes(gateway: Gateway) -> AsyncIterator[Wish]:
    """Every step of a run that has not ended that waits for a person, oldest run first."""
    for row in reversed(await _open_runs(gateway)):
        steps = await gateway.steps(TENANT, row.run_id)
        for name, step in list(steps.items()):
            if (step.waiting or {}).get("for") in {"approval", "signal"}:
                yield Wish(row, name, _key(name, step), step.waiting or {})


def _key(name: str, step: StepState) -> str:
    """Tells one time of waiting from the next: a step that waits in a loop waits anew in each iteration."""
    return f"{step_key(name, step.iteration)}@{step.attempt}"


async def _open_runs(gateway: Gateway) -> Sequence[RunRow]:
    found: list[RunRow] = []
    before = None
    while True:
        page = await gateway.runs(TENANT, RunQuery(TENANT, status=OPEN, before=before, limit=PAGE))
        found += page
        if len(page) < PAGE:
            return found
        before = page[-1].run_id
