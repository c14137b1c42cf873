"""How a run ended against how it should have ended."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from runtime.definition.expressions import compile_expression
from runtime.definition.pointers import join
from runtime.definition.schemas import check_value
from runtime.engine.scope import Scope, Unloaded
from runtime.engine.state import RunState
from runtime.engine.states import StepStatus
from runtime.errors import ExpressionFailed
from runtime.references import REFERENCE
from runtime.simulation.counting import MODEL, Counting
from runtime.simulation.testing.document import Expect, ExpectedError
from runtime.values import load

RAN = frozenset({StepStatus.SUCCEEDED, StepStatus.FAILED})
NEVER = frozenset({StepStatus.SKIPPED, StepStatus.PENDING})
MAX_DIFF = 60
"""Lines of a difference that are shown."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One thing that is not as the test wants it; `pointer` is where the test says so. `diff` are lines, `-` what was expected, `+` what came."""

    pointer: str
    message: str
    diff: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended, and what was counted on the way."""

    state: RunState
    output: Any
    counted: Counting
    artifacts: Any


async def check(expect: Expect, ended: Ended) -> list[Failure]:
    """Everything that is not as expected. After a wrong end only that is told: the rest would follow from it."""
    state = ended.state
    if state.status is not expect.wanted:
        return [Failure("/status" if expect.status else "", f"the run {_told(state)}", difference(expect.wanted.value, state.status.value))]
    found = [*_outputs(expect, ended.output), *_steps(expect, state), *_calls(expect, ended.counted)]
    if expect.error is not None:
        found += _error(expect.error, state.error or {})
    if expect.match is not None:
        found += [Failure("/match", f"outputs{problem.pointer}: {problem.detail}") for problem in check_value(expect.match, ended.output)]
    passed = (state.ended_at or state.created_at) - state.created_at
    if expect.took is not None and passed != expect.took:
        found.append(Failure("/took", "the run took another time", difference(f"{expect.took} ms", f"{passed} ms")))
    return found + [failure for index, source in enumerate(expect.that) if (failure := await _condition(source, index, ended)) is not None]


def difference(expected: Any, actual: Any) -> tuple[str, ...]:
    """Lines that lead from one JSON value to another."""
    before, after = _lines(expected), _lines(actual)
    lines = [line for line in unified_diff(before, after, lineterm="", n=2) if not line.startswith(("---", "+++", "@@"))]
    return tuple(lines[:MAX_DIFF] + (["…"] if len(lines) > MAX_DIFF else []))


def _lines(value: Any) -> list[str]:
    return value.splitlines() if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True).splitlines()


def _told(state: RunState) -> str:
    if not state.error:
        return f"{'was ' if state.status == 'canceled' else ''}{state.status}"
    where = f" in step {state.error['step']}" if state.error.get("step") else ""
    return f"{state.status}{where}: {state.error.get('code')}: {state.error.get('message')}"


def _outputs(expect: Expect, output: Any) -> Iterator[Failure]:
    given: Mapping[str, Any] = output if isinstance(output, dict) else {}
    for name, wanted in expect.outputs.items():
        if name not in given:
            yield Failure(join("/outputs", name), f"there is no output '{name}'; there are: {', '.join(given) or 'none'}")
        elif given[name] != wanted:
            yield Failure(join("/outputs", name), f"output '{name}' differs", difference(wanted, given[name]))


def _steps(expect: Expect, state: RunState) -> Iterator[Failure]:
    for place, names, wanted in (("/ran", expect.ran, RAN), ("/skipped", expect.skipped, NEVER)):
        for index, name in enumerate(names):
            step = state.steps[name]
            if step.status not in wanted:
                because = f" ({step.reason})" if step.reason else ""
                yield Failure(join(place, index), f"step {name} was {step.status}{because}")


def _calls(expect: Expect, counted: Counting) -> Iterator[Failure]:
    for name, wanted in expect.calls.items():
        made = counted.of(name)
        if isinstance(wanted, dict):
            seen: Any = {what: made.get(what, 0) for what in wanted}
        else:
            seen = made.get(MODEL, 0) if "attempts" not in made else made["attempts"]
        if seen != wanted:
            yield Failure(join("/calls", name), f"step {name} made other calls", difference(wanted, seen))


def _error(expect: ExpectedError, error: dict[str, Any]) -> Iterator[Failure]:
    for name in ("code", "step"):
        wanted = getattr(expect, name)
        if wanted is not None and error.get(name) != wanted:
            yield Failure("/error", f"the run failed with another {name}", difference(wanted, str(error.get(name))))
    if expect.message is not None and expect.message not in str(error.get("message")):
        yield Failure("/error/message", "the error's message does not contain this", difference(expect.message, str(error.get("message"))))


async def _condition(source: str, index: int, ended: Ended) -> Failure | None:
    expression, pointer = compile_expression(source), join("/that", index)
    scope = Scope(ended.state, {"outputs": ended.output})
    while True:
        try:
            if expression.holds(scope):
                return None
            seen = {name: scope[name] for name in sorted(expression.names)}
            return Failure(pointer, f"this is not so: {source}", tuple(f"  {line}" for line in _lines(seen)[:MAX_DIFF]))
        except ExpressionFailed as error:
            return Failure(pointer, str(error))
        except Unloaded as missing:
            for one in missing.references:
                ended.state.loaded[one[REFERENCE]["sha256"]] = await load(one, ended.artifacts)
