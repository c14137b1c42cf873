"""What holds after every turn, whatever happened. Written against the journal alone wherever that is possible."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from runtime.definition.model import Goto
from runtime.definition.plan import PlannedStep
from runtime.engine.events import RUN_ENDS, STEP_ENDS, Event, Kind
from runtime.engine.state import Items, RunState, StepState
from runtime.engine.states import STEP_TRANSITIONS, StepStatus

if TYPE_CHECKING:
    from tests.unit.engine.driver import World

BEGINNINGS = frozenset({Kind.STEP_STARTED, Kind.STEP_WAITING, Kind.STEP_ITERATED, Kind.STEP_SUCCEEDED, Kind.STEP_FAILED})


def check(world: "World", *, decided: bool) -> None:
    """`decided`: the turn did more than record. Raises AssertionError."""
    folded = world.refold()
    assert view(folded, world) == view(world.state, world), "the journal tells the same as the memory"
    assert view(folded, world) == view(world.refold(), world), "folding is deterministic"
    check_numbers(world.journal)
    check_ends(world.journal, world.state)
    check_order(world)
    if decided:
        check_hands(world)


def view(state: RunState, world: "World") -> dict[str, Any]:
    """All that the fold determines, with stored values brought in."""
    fields = ("status", "head", "epoch", "mode", "seed", "created_at", "started_at", "ended_at", "error", "canceling", "waiting_for", "open_main", "open_final")
    return {
        **{field: getattr(state, field) for field in fields},
        "output": world.whole(state.output),
        "inputs": world.whole(state.inputs),
        "active": list(state.active),
        "signals": {name: [world.whole(signal["payload"]) for signal in queue] for name, queue in state.signals.items()},
        "steps": {name: _step(step, world) for name, step in state.steps.items()},
    }


def _step(step: StepState, world: "World") -> dict[str, Any]:
    fields = ("status", "attempt", "iteration", "error", "started_at", "ended_at", "due", "waiting", "reason", "cached", "calls", "asks")
    links = ("open_needs", "met", "missed", "open_routers", "chosen")
    return {
        **{field: getattr(step, field) for field in (*fields, *links)},
        "output": world.whole(step.output),
        "items": None if step.items is None else _items(step.items, world),
    }


def _items(items: Items, world: "World") -> dict[str, Any]:
    fields = ("total", "attempts", "next", "done", "running", "asking", "retrying", "failed", "finished", "open")
    return {**{field: getattr(items, field) for field in fields}, "outputs": world.whole(items.outputs)}


def check_numbers(journal: list[Event]) -> None:
    """Sequence numbers without gaps; epochs rise by claims alone."""
    assert [event.seq for event in journal] == list(range(1, len(journal) + 1))
    for before, after in pairwise(journal):
        assert after.epoch - before.epoch == (after.kind is Kind.RUN_CLAIMED)


def check_ends(journal: list[Event], state: RunState) -> None:
    """One end of the run, and last; one end of each step; an accepted cancel is kept; success leaves no main step behind."""
    ends = [event for event in journal if event.kind in RUN_ENDS]
    assert ends in ([], [journal[-1]])
    assert bool(ends) == state.ended
    ended_steps = [event.step for event in journal if event.kind in STEP_ENDS]
    assert len(ended_steps) == len(set(ended_steps))
    if ends and any(event.kind is Kind.RUN_CANCELING for event in journal):
        assert ends[0].kind is Kind.RUN_CANCELED
    if ends:
        assert not state.active
        assert set(state.plan.final) <= set(ended_steps), "finally runs to its end however the run ends"
    if ends and ends[0].kind is Kind.RUN_SUCCEEDED:
        assert set(state.plan.main) <= set(ended_steps)


def check_hands(world: "World") -> None:
    """What the state takes for being in flight is in flight; a run that is let go has nothing in flight, one that is kept has something to wait for."""
    running: set[tuple[str, int | None]] = set()
    for name in world.state.active:
        step = world.state.steps[name]
        if step.status is StepStatus.RUNNING and world.plan.steps[name].remote:
            running |= {(name, index) for index in step.items.running} if step.items is not None else {(name, None)} if step.attempt else set()
    assert running == set(world.flights)
    turn = world.last
    if turn is None or turn.more or world.state.ended:
        return
    if turn.release:
        assert not running
        assert world.state.status in ("waiting", "paused", "canceling")
    else:
        assert running or turn.wake_at is not None


def check_order(world: "World") -> None:
    """A step begins only after all it needs has ended and, where it has routers, one of them chose it; `finally` only after the rest."""
    ended: dict[str, Event] = {}
    begun: dict[str, Event] = {}
    for event in world.journal:
        name = (event.step or "").partition("#")[0]
        if event.kind in BEGINNINGS and name not in begun:
            _check_beginning(world.plan.steps[name], ended, world)
        if event.kind in STEP_TRANSITIONS:
            begun.setdefault(name, event)
        if world.plan.steps.get(name) is not None and world.plan.steps[name].final and event.kind is Kind.STEP_STARTED:
            assert all(other in ended for other in begun if not world.plan.steps[other].final)
        if event.kind in STEP_ENDS:
            ended[name] = event


def _check_beginning(planned: PlannedStep, ended: dict[str, Event], world: "World") -> None:
    assert all(need in ended for need in planned.needs), f"{planned.id} began before what it needs had ended"
    good = [need for need in planned.needs if _good(ended[need], world)]
    assert len(good) == len(planned.needs) if planned.step.join == "all" else good or not planned.needs
    assert not planned.routers or any(_chose(router, planned.id, ended, world) for router in planned.routers), f"nobody chose {planned.id}"


def _good(end: Event, world: "World") -> bool:
    failed_softly = end.kind is Kind.STEP_FAILED and world.plan.steps[end.step or ""].step.on_error == "continue"
    return end.kind in (Kind.STEP_SUCCEEDED, Kind.STEP_REUSED) or failed_softly


def _chose(router: str, target: str, ended: dict[str, Event], world: "World") -> bool:
    if router not in ended:
        return False
    step, end = world.plan.steps[router].step, ended[router]
    if end.kind is Kind.STEP_FAILED:
        return isinstance(step.on_error, Goto) and step.on_error.goto == target
    return step.switch is not None and (end.body or {}).get("output") == target
