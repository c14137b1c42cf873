"""A simulated world around one run: virtual time, a journal that outlives crashes, and whatever outcomes a test scripts.

After every turn the journal is folded anew and compared with the state in memory, and the invariants of `invariants.py` are checked.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.definition.plan import Plan
from runtime.definition.validation import parse
from runtime.engine.advance import advance
from runtime.engine.commands import CancelChild, Command, StartChild, StartItems, StartStep, StopStep
from runtime.engine.events import Event, Kind
from runtime.engine.evolve import evolve, fold
from runtime.engine.state import Ask, RunState
from runtime.engine.turn import Turn
from runtime.references import REFERENCE, is_reference, reference
from tests.unit.engine.invariants import check

START = 1_700_000_000_000
LARGE = {Kind.STEP_SUCCEEDED: "output", Kind.STEP_ITERATED: "output", Kind.SIGNAL_RECEIVED: "payload", Kind.RUN_CREATED: "inputs"}


@dataclass(frozen=True, slots=True)
class Result:
    """How one attempt ended."""

    step: str
    attempt: int
    iteration: int | None = None
    index: int | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    messages: Any = None
    artifacts: tuple[dict[str, Any], ...] = ()
    asks: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the inbox."""

    message_id: str
    kind: str
    body: dict[str, Any]


def planned(source: str) -> Plan:
    """The plan of a definition written without its name. PY in it stands for a remote step, ONCE for one that makes a single attempt."""
    text = source.replace("ONCE", "PY, retry: {max_attempts: 1}").replace("PY", "python: {function: 'm:f'}")
    return parse(f"name: tested\n{text}").plan


def failure(code: str = "boom", **more: Any) -> dict[str, Any]:
    return {"code": code, "message": f"it went {code}", "retryable": True, **more}


class World:
    """One run. `store_over`: outputs whose JSON is longer are journalled by reference, as the host does it."""

    def __init__(
        self, source: str | Plan, inputs: Any = None, *, store_over: int | None = None, checked: bool = True, reused: Sequence[Event] = (), seed: int = 1
    ) -> None:
        self.plan = planned(source) if isinstance(source, str) else source
        self.now = START
        self.checked = checked
        self.store_over = store_over
        self.stored: dict[str, Any] = {}
        self.loaded: list[str] = []
        self.commands: list[Command] = []
        self.flights: dict[tuple[str, int | None], Result] = {}
        self.values: dict[tuple[str, int | None], Any] = {}
        self.stale: list[Result] = []
        self.children: dict[str, StartChild] = {}
        self.owned = False
        self.wake_at: int | None = None
        self.last: Turn | None = None
        self.turns = 0
        self._messages = 0
        body = {"workflow": "tested", "definition": "0" * 64, "inputs": {} if inputs is None else inputs, "mode": "live", "seed": seed}
        self.journal = [self._small(Event(1, 0, Kind.RUN_CREATED, self.now, body=body)), *reused]
        self.state = self.refold()

    # --- looking -----------------------------------------------------------------------------------------------------

    def refold(self) -> RunState:
        return fold(self.plan, self.journal, run_id="run")

    def statuses(self) -> dict[str, str]:
        return {name: step.status.value for name, step in self.state.steps.items()}

    def output(self, step: str) -> Any:
        return self.state.steps[step].output

    def error(self, step: str) -> str | None:
        return (self.state.steps[step].error or {}).get("code")

    def events(self, *kinds: Kind) -> list[Event]:
        return [event for event in self.journal if event.kind in kinds]

    def told(self, step: str) -> list[str]:
        """The kinds of this step's events, in order."""
        return [event.kind.value for event in self.journal if (event.step or "").partition("#")[0] == step]

    def given(self, kind: type[Command], step: str) -> list[Any]:
        return [command for command in self.commands if isinstance(command, kind) and getattr(command, "step", None) == step]

    # --- acting ------------------------------------------------------------------------------------------------------

    def go(self, results: Sequence[Result] = (), messages: Sequence[Letter] = (), *, hold: bool = False, once: bool = False) -> "World":
        """Turns, until nothing more follows at this moment; one only with `once`. Claims the run first when nobody owns it."""
        recover = not self.owned and not self.state.ended
        self._land(results)
        if recover:
            claim = Event(self.state.head + 1, self.state.epoch + 1, Kind.RUN_CLAIMED, self.now, body={"owner": "somebody"})
            evolve(self.state, claim)
            self.journal.append(claim)
            self.owned = True
        while True:
            turn = self._advance(results=results, messages=messages, recover=recover, hold=hold)
            if once or hold or not turn.more:
                return self
            results, messages, recover = (), (), False

    def _advance(self, **what: Any) -> Turn:
        turn = advance(self.state, now=self.now, **what)
        self._commit(turn)
        while turn.loads:
            for wanted in turn.loads:
                digest = wanted[REFERENCE]["sha256"]
                self.loaded.append(digest)
                self.state.loaded[digest] = self.stored[digest]
            turn = advance(self.state, now=self.now)
            self._commit(turn)
        self.last, self.turns = turn, self.turns + 1
        if turn.release or self.state.ended:
            self.owned = False
        self.wake_at = turn.wake_at
        if self.checked:
            check(self, decided=not what["hold"])
        return turn

    def _commit(self, turn: Turn) -> None:
        self.journal += [self._small(event) for event in turn.events]
        self.commands += turn.commands
        for command in turn.commands:
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        match command:
            case StartStep():
                self._fly(Result(command.step, command.attempt, command.iteration), command.scope)
            case StartItems():
                for index, attempt, value in command.items:
                    self._fly(Result(command.step, attempt, index=index), value)
            case StopStep():
                for key in [key for key in self.flights if key[0] == command.step]:
                    self.stale.append(self.flights.pop(key))
            case StartChild():
                assert command.child not in self.children, "a child's id is used once"
                self.children[command.child] = command
            case CancelChild():
                assert command.child in self.children, "only a child that was started is canceled"

    def _land(self, results: Sequence[Result]) -> None:
        """What has a result is no longer in flight; the result may come again."""
        for result in results:
            flight = self.flights.get((result.step, result.index))
            if flight is not None and (flight.attempt, flight.iteration) == (result.attempt, result.iteration):
                del self.flights[result.step, result.index]
                self.stale.append(result)

    def _fly(self, result: Result, value: Any) -> None:
        key = (result.step, result.index)
        if key in self.flights:
            self.stale.append(self.flights[key])
        self.flights[key], self.values[key] = result, value

    def finish(self, step: str, output: Any = None, *, index: int | None = None, error: dict[str, Any] | None = None) -> "World":
        """The attempt in flight ends."""
        return self.go(results=[replace(self.flights[step, index], output=output, error=error)])

    def ask(self, step: str, *asks: dict[str, Any], index: int | None = None) -> "World":
        """The attempt in flight ends with questions."""
        return self.go(results=[replace(self.flights[step, index], asks=asks)])

    def reply(self, question: Ask, step: str, *, good: bool = True, **more: Any) -> "World":
        """Answer an open question of an agent."""
        if question.kind == "approval":
            return self.send("approval", approval_id=question.id, approved=good, **more)
        status = "succeeded" if good else "failed"
        return self.send("child", run_id=question.id, step=step, index=question.index, status=status, **{"output": "kid", "error": None, **more})

    def fail(self, step: str, code: str = "boom", *, index: int | None = None, **more: Any) -> "World":
        return self.finish(step, index=index, error=failure(code, **more))

    def send(self, kind: str, **body: Any) -> "World":
        return self.go(messages=[self.letter(kind, **body)])

    def letter(self, kind: str, **body: Any) -> Letter:
        self._messages += 1
        return Letter(f"m{self._messages}", kind, body)

    def decide(self, step: str, *, approved: bool = True, **more: Any) -> "World":
        """Answer the open question of an approval step."""
        waiting = self.state.steps[step].waiting
        assert waiting is not None
        assert waiting["for"] == "approval"
        return self.send("approval", approval_id=waiting["approval_id"], approved=approved, **more)

    def child(self, step: str, index: int | None = None) -> str:
        """The id of the newest child of this step or item."""
        return [child for child, start in self.children.items() if (start.step, start.index) == (step, index)][-1]

    def child_ends(self, step: str, output: Any = None, *, index: int | None = None, status: str = "succeeded", error: Any = None) -> "World":
        return self.send("child", run_id=self.child(step, index), step=step, index=index, status=status, output=output, error=error)

    def record(self, step: str, call: dict[str, Any]) -> "World":
        """A model or tool call inside an agent step is journalled, as the host does it."""
        event = Event(self.state.head + 1, self.state.epoch, Kind.CALL_FINISHED, self.now, step, body=call)
        evolve(self.state, event)
        self.journal.append(event)
        return self

    def crash(self) -> "World":
        """The owner dies: what was in flight is lost, all that is left is the journal."""
        self.stale += self.flights.values()
        self.flights.clear()
        self.state, self.owned = self.refold(), False
        return self

    def sleep(self, ms: int) -> "World":
        """Let time pass in one jump, then take the turns that are due."""
        self.now += ms
        return self.go()

    def wake(self) -> "World":
        """Jump to the moment the last turn asked for."""
        assert self.wake_at is not None, "the run asked for no moment"
        self.now = max(self.now, self.wake_at)
        return self.go()

    def play(self, work: Callable[[Result, Any], Any] | None = None, *, rounds: int = 10_000) -> "World":
        """Go on by itself: every flight ends by `work` (its output, or an exception's text as failure), time jumps. Stops at the end or at a person."""
        self.go()
        for _ in range(rounds):
            if self.state.ended:
                break
            if self.flights:
                self.go(results=[self._worked(key, work) for key in self.flights])
            elif self.wake_at is not None:
                self.wake()
            else:
                break
        return self

    def _worked(self, key: tuple[str, int | None], work: Callable[[Result, Any], Any] | None) -> Result:
        flight = self.flights[key]
        try:
            return replace(flight, output=flight.step if work is None else work(flight, self.values[key]))
        except ArithmeticError as error:
            return replace(flight, error=failure(str(error)))

    # --- large values ------------------------------------------------------------------------------------------------

    def store(self, value: Any) -> Any:
        """A reference to a value, as the artifact store would give it."""
        data = json.dumps(value).encode()
        digest = hashlib.sha256(data).hexdigest()
        self.stored[digest] = value
        return reference(digest, len(data))

    def whole(self, value: Any) -> Any:
        """`value` with stored parts brought in."""
        if is_reference(value):
            return self.stored[value[REFERENCE]["sha256"]]
        return [self.whole(part) for part in value] if isinstance(value, list) else value

    def _small(self, event: Event) -> Event:
        body = dict(event.body or {})
        field = LARGE.get(event.kind)
        if field in body:
            body[field] = self._value(body[field])
        if "done" in body:
            body["done"] = [[index, self._value(output)] for index, output in body["done"]]
        return replace(event, body=body or None)

    def _value(self, value: Any) -> Any:
        if self.store_over is None or is_reference(value) or len(json.dumps(value)) <= self.store_over:
            return value
        return self.store(value)
