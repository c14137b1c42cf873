"""The values an expression sees, looked up by dotted name and only when asked for."""

from collections.abc import Iterator, Mapping
from typing import Any

from runtime.engine.state import RunState, StepState
from runtime.engine.states import StepStatus
from runtime.references import REFERENCE, holds_reference, is_reference


class Unloaded(Exception):  # noqa: N818 - not an error: it asks the host for a value
    """The value lives in the artifact store and has to be brought in first."""

    def __init__(self, reference: dict[str, Any]) -> None:
        super().__init__("value not loaded")
        self.reference = reference


class Scope(Mapping[str, Any]):
    """Names of one run, and of one item or iteration when `local` brings them.

    With `resolve` large values are looked up in `state.loaded` (raises Unloaded); without it their references are passed on,
    for an executor that loads them itself.
    """

    def __init__(self, state: RunState, local: Mapping[str, Any] | None = None, *, resolve: bool = True) -> None:
        self._state = state
        self._local = local or {}
        self._resolve = resolve

    def __getitem__(self, name: str) -> Any:
        if name in self._local:
            return self._local[name]
        value = self._lookup(name)
        return _resolved(value, self._state.loaded) if self._resolve else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._local)

    def __len__(self) -> int:
        return len(self._local)

    def pick(self, names: frozenset[str]) -> dict[str, Any]:
        """These names with their values, as plain data."""
        return {name: self[name] for name in sorted(names)}

    def _lookup(self, name: str) -> Any:
        root, _, rest = name.partition(".")
        if root == "inputs":
            inputs = _resolved(self._state.inputs, self._state.loaded)
            return inputs[rest] if rest else inputs
        if root == "steps":
            step, _, what = rest.partition(".")
            return _of_step(self._state.steps[step], what)
        if root == "run":
            return _of_run(self._state, rest)
        raise KeyError(name)


def _of_step(step: StepState, what: str) -> Any:
    if what == "output":
        return step.output if step.status in (StepStatus.SUCCEEDED, StepStatus.FAILED) else None
    if what == "status":
        return step.status.value
    if what == "error":
        return step.error
    raise KeyError(what)


def _of_run(state: RunState, what: str) -> Any:
    if what == "status":
        return "canceled" if state.canceling else "failed" if state.error else "succeeded"
    return {"id": state.run_id, "workflow": state.plan.definition.name, "error": state.error}[what]


def _resolved(value: Any, loaded: Mapping[str, Any]) -> Any:
    """`value` with references, itself one or in a list of a map's outputs, replaced by what they stand for."""
    if is_reference(value):
        digest = value[REFERENCE]["sha256"]
        if digest not in loaded:
            raise Unloaded(value)
        return loaded[digest]
    return [_resolved(part, loaded) if is_reference(part) else part for part in value] if holds_reference(value) else value
