"""Random definitions driven by random events in random order; `invariants.py` says what holds after every single turn."""

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from runtime.definition.validation import parse
from runtime.engine.fork import failed_steps, fork_events
from tests.unit.engine.driver import START, World, failure
from tests.unit.engine.shapes import definitions

LONG = settings.get_current_profile_name() == "long"
OUTPUTS = st.sampled_from([None, True, 3, "text", {"v": 1}, ["a long text of more than forty characters"]])
ERRORS = st.sampled_from([failure(), failure(retryable=False), failure("executor_lost"), failure(retry_after=40)])
ASKS = st.lists(
    st.sampled_from(
        [
            {"for": "approval", "call": "a", "tool": "pay", "message": "pay?", "show": {"args": {}}},
            {"for": "approval", "call": "b", "tool": "pay", "message": "pay?", "show": {"args": {}}, "expires": 2000},
            {"for": "child", "call": "c", "tool": "flow", "workflow": "other", "inputs": {}},
        ]
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda ask: ask["call"],
)
CHILD_ENDS = st.sampled_from([("succeeded", None), ("failed", {"code": "sad", "message": "", "retryable": True}), ("failed", None), ("canceled", None)])
ROUNDS = 500
"""Enough for every run these shapes can make to end."""


def bounded(examples: int, steps: int = 50) -> settings:
    if LONG:
        return settings.get_profile("long")
    return settings(max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def a_world(document: dict[str, Any]) -> World:
    return World(parse(document).plan, {"l": [1, "two", None], "e": []}, store_over=40)


def see_to_its_end(world: World) -> None:
    """All that is still awaited comes, and time passes: then the run ends."""
    for _ in range(ROUNDS):
        if world.state.ended:
            return
        if world.state.status == "paused":
            world.send("resume")
        elif world.flights:
            step, index = next(iter(world.flights))
            world.finish(step, {"v": "done"}, index=index)
        elif not _answer(world):
            world.wake()
    raise AssertionError(f"the run did not end: {world.state.status} {world.statuses()}")


def _answer(world: World) -> bool:
    """Do what the first waiting step waits for, unless that is time."""
    for name in world.state.active:
        step = world.state.steps[name]
        if step.asks:
            world.reply(next(iter(step.asks.values())), name)
            return True
        waiting = step.waiting or {}
        match waiting.get("for"):
            case "approval":
                world.decide(name)
            case "signal":
                world.send("signal", name="go", payload="late")
            case "decision":
                world.send("decision", step=name, action="retry")
            case "child":
                world.child_ends(name, {"v": "kid"})
            case _ if step.items is not None and step.items.running:
                world.child_ends(name, "kid", index=min(step.items.running))
            case _:
                continue
        return True
    return False


class Engine(RuleBasedStateMachine):
    """Whatever happens to a run, in whatever order."""

    world: World

    @initialize(document=definitions())
    def submit(self, document: dict[str, Any]) -> None:
        self.world = a_world(document)

    @property
    def waiting(self) -> list[str]:
        return list(self.world.state.active)

    @rule(claim_only=st.booleans())
    def turn(self, *, claim_only: bool) -> None:
        self.world.go(once=claim_only)

    @precondition(lambda self: self.world.flights)
    @rule(data=st.data(), output=OUTPUTS)
    def result(self, data: st.DataObject, output: Any) -> None:
        step, index = data.draw(st.sampled_from(list(self.world.flights)))
        self.world.finish(step, output, index=index)

    @precondition(lambda self: self.world.flights)
    @rule(data=st.data(), error=ERRORS)
    def failed(self, data: st.DataObject, error: dict[str, Any]) -> None:
        step, index = data.draw(st.sampled_from(list(self.world.flights)))
        self.world.finish(step, index=index, error=error)

    @precondition(lambda self: self.world.flights)
    @rule(data=st.data(), asks=ASKS)
    def asked(self, data: st.DataObject, asks: list[dict[str, Any]]) -> None:
        step, index = data.draw(st.sampled_from(list(self.world.flights)))
        self.world.ask(step, *asks, index=index)

    @precondition(lambda self: any(step.asks for step in self.world.state.steps.values()))
    @rule(data=st.data(), good=st.booleans())
    def replied(self, data: st.DataObject, *, good: bool) -> None:
        name, question = data.draw(st.sampled_from([(name, ask) for name, step in self.world.state.steps.items() for ask in step.asks.values()]))
        self.world.reply(question, name, good=good)

    @precondition(lambda self: len(self.world.flights) > 1)
    @rule(data=st.data(), output=OUTPUTS, error=ERRORS)
    def many_results(self, data: st.DataObject, output: Any, error: dict[str, Any]) -> None:
        order = data.draw(st.permutations(list(self.world.flights)))
        results = [replace(self.world.flights[key], output=output, error=error if at % 3 == 2 else None) for at, key in enumerate(order)]
        self.world.go(results=[*results, results[0]])

    @precondition(lambda self: self.world.stale)
    @rule(data=st.data())
    def stale_result(self, data: st.DataObject) -> None:
        self.world.go(results=[data.draw(st.sampled_from(self.world.stale))])

    @precondition(lambda self: not self.world.state.ended)
    @rule()
    def crash(self) -> None:
        self.world.crash()

    @precondition(lambda self: not self.world.state.ended)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        """The owner records a last result, hands the run over, and the next one finds it."""
        if self.world.owned and self.world.flights:
            step, index = data.draw(st.sampled_from(list(self.world.flights)))
            self.world.go(results=[replace(self.world.flights[step, index], output="last")], hold=True)
        self.world.crash()

    @rule(ms=st.sampled_from([1, 1000, 6000, 60_000, 1_000_000]))
    def time(self, ms: int) -> None:
        self.world.sleep(ms)

    @precondition(lambda self: self.world.wake_at is not None and not self.world.state.ended)
    @rule()
    def alarm(self) -> None:
        self.world.wake()

    @rule(kind=st.sampled_from(["pause", "resume", "pause", "resume", "cancel"]))
    def control(self, kind: str) -> None:
        self.world.send(kind)

    @rule(payload=OUTPUTS, name=st.sampled_from(["go", "go", "other"]))
    def signal(self, payload: Any, name: str) -> None:
        self.world.send("signal", name=name, payload=payload)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), approved=st.booleans())
    def answer(self, data: st.DataObject, *, approved: bool) -> None:
        name = data.draw(st.sampled_from(self.waiting))
        waiting = self.world.state.steps[name].waiting or {}
        self.world.send("approval", approval_id=waiting.get("approval_id", "unknown"), approved=approved)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), action=st.sampled_from(["retry", "succeed", "fail"]))
    def decision(self, data: st.DataObject, action: str) -> None:
        self.world.send("decision", step=data.draw(st.sampled_from(self.waiting)), action=action, output="believed")

    @precondition(lambda self: self.world.children)
    @rule(data=st.data(), end=CHILD_ENDS)
    def child(self, data: st.DataObject, end: tuple[str, Any]) -> None:
        """Of any child, also of one that has ended already or was given up."""
        child = data.draw(st.sampled_from(list(self.world.children)))
        start = self.world.children[child]
        self.world.send("child", run_id=child, step=start.step, index=start.index, status=end[0], output="kid", error=end[1])

    def teardown(self) -> None:
        if hasattr(self, "world"):
            see_to_its_end(self.world.go())


Engine.TestCase.settings = bounded(200)
test_whatever_happens = Engine.TestCase


@bounded(200)
@given(document=definitions(), seed=st.randoms(use_true_random=False))
def test_a_retry_of_any_run_ends_too(document: dict[str, Any], seed: Any) -> None:
    """A run in which a third of all attempts fails, retried until nothing fails any more."""
    world = a_world(document)

    def work(flight: Any, _value: Any) -> Any:
        return {"v": 1} if seed.random() > 0.3 else 1 // 0

    world.play(work, rounds=20)
    events = fork_events(world.plan, world.state, restart=failed_steps(world.state), at=START)
    retry = World(world.plan, world.whole(world.state.inputs), reused=events, store_over=40)
    retry.stored.update(world.stored)
    for step, state in retry.state.steps.items():
        assert state.status in ("pending", "running", world.state.steps[step].status)
    see_to_its_end(retry.go())
