"""The values an expression sees, looked up by dotted name and only when asked for."""

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.engine.state import Items, RunState, StepState
from runtime.engine.states import StepStatus
from runtime.references import REFERENCE, is_reference

_OUTPUTS = frozenset({"output", "previous"})
"""Local names that hold a step's output, which may be stored."""


class Unloaded(Exception):
    """Values live in the artifact store and have to be brought in first."""

    def __init__(self, references: list[dict[str, Any]]) -> None:
        super().__init__("values not loaded")
        self.references = references


class Scope(Mapping[str, Any]):
    """Names of one run, and of one item or iteration when `local` brings them.

    With `resolve` large values are looked up in `state.loaded` (raises Unloaded); without it their references are passed on,
    for an executor that loads them itself. Only what the engine itself stored is ever taken for a reference: the run's inputs as a
    whole, the output of a step, the output of an item. JSON inside of them that looks like one is just JSON.
    """

    def __init__(self, state: RunState, local: Mapping[str, Any] | None = None, *, resolve: bool = True) -> None:
        self._state = state
        self._local = local or {}
        self._resolve = resolve

    def __getitem__(self, name: str) -> Any:
        if name in self._local:
            return self._stored(self._local[name]) if name in _OUTPUTS else self._local[name]
        root, _, rest = name.partition(".")
        if root == "inputs":
            inputs = _loaded(self._state, self._state.inputs)
            return inputs[rest] if rest else inputs
        if root == "steps":
            step, _, what = rest.partition(".")
            return self._of_step(self._state.steps[step], what)
        if root == "run":
            return _of_run(self._state, rest)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._local)

    def __len__(self) -> int:
        return len(self._local)

    def pick(self, names: frozenset[str]) -> dict[str, Any]:
        """These names with their values, as plain data. One that has no value is left out: whoever evaluates with it says so."""
        return {name: self[name] for name in sorted(names) if name in self}

    def _of_step(self, step: StepState, what: str) -> Any:
        if what == "output":
            return self._output(step) if step.status in (StepStatus.SUCCEEDED, StepStatus.FAILED) else None
        if what == "messages":
            return self._stored(step.messages)
        return {"status": step.status.value, "error": step.error, "artifacts": step.artifacts}[what]

    def _output(self, step: StepState) -> Any:
        if step.items is not None and self._resolve:
            return _whole(self._state, step.items)
        return self._stored(step.output)

    def _stored(self, value: Any) -> Any:
        return _loaded(self._state, value) if self._resolve else value


def _of_run(state: RunState, what: str) -> Any:
    if what == "status":
        return "canceled" if state.canceling else "failed" if state.error else "succeeded"
    return {"id": state.run_id, "workflow": state.plan.definition.name, "error": state.error}[what]


def _loaded(state: RunState, value: Any) -> Any:
    """`value`, or what it stands for."""
    if not is_reference(value):
        return value
    digest = value[REFERENCE]["sha256"]
    if digest not in state.loaded:
        raise Unloaded([value])
    return state.loaded[digest]


def _whole(state: RunState, items: Items) -> list[Any]:
    """The outputs of a map that has ended, made once; all values that are missing are asked for together."""
    if items.whole is None:
        missing = [items.outputs[index] for index in items.stored if items.outputs[index][REFERENCE]["sha256"] not in state.loaded]
        if missing:
            raise Unloaded(missing)
        items.whole = list(items.outputs)
        for index in items.stored:
            items.whole[index] = _loaded(state, items.outputs[index])
    return items.whole
