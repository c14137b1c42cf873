"""Which names each place of a definition may use, with their types as far as the inputs' schemas tell."""

from typing import Any

from runtime.definition.model import Step
from runtime.definition.names import STEP_FIELDS, Names
from runtime.definition.structure import Draft

_TYPES = {"string": "string", "integer": "int", "boolean": "bool", "array": "list", "object": "map"}
"""JSON Schema type → CEL type. `number` stays dyn: 3 and 3.5 are both numbers, and CEL would refuse to compare one of them."""
_TEXT_LISTS = {"string": "list(string)", "boolean": "list(bool)"}


class Places:
    """The names of one definition, made once for each kind of place."""

    def __init__(self, draft: Draft) -> None:
        inputs = {f"inputs.{name}": cel_type(schema) for name, schema in draft.inputs.items()}
        self.inputs = Names({"inputs": "map", **inputs})
        """In what is decided before there is a run: `concurrency.key`."""
        self._common = {"inputs": "map", **inputs, "run.id": "string", "run.workflow": "string"}
        self._main = _step_names(draft.steps)
        self._final = {**self._main, **_step_names(draft.final), "run.status": "string", "run.error": "dyn"}
        self._made: dict[tuple[bool, bool, bool, bool], Names] = {}

    def of_step(self, step: Step, *, final: bool) -> Names:
        """In everything a step does for each item and iteration."""
        return self._names(final=final, item=step.map is not None, loop=step.loop is not None)

    def of_start(self, *, final: bool) -> Names:
        """In what is decided once, before any item: `when`, `map.over`, the cases of a switch; and in the outputs."""
        return self._names(final=final)

    def of_until(self, *, final: bool) -> Names:
        return self._names(final=final, loop=True, until=True)

    def _names(self, *, final: bool, item: bool = False, loop: bool = False, until: bool = False) -> Names:
        key = (final, item, loop, until)
        if key not in self._made:
            own = {"item": "dyn", "index": "int"} if item else {}
            own |= {"iteration": "int", "previous": "dyn"} if loop else {}
            own |= {"output": "dyn"} if until else {}
            self._made[key] = Names({**self._common, **(self._final if final else self._main), **own})
        return self._made[key]


def cel_type(schema: dict[str, Any]) -> str:
    """The CEL type of values that fit a JSON Schema; `dyn` when it allows several."""
    kind = schema.get("type")
    if not isinstance(kind, str):
        return "dyn"
    items = schema.get("items")
    if kind == "array" and isinstance(items, dict) and isinstance(items.get("type"), str):
        return _TEXT_LISTS.get(items["type"], "list")
    return _TYPES.get(kind, "dyn")


def _step_names(steps: dict[str, Step | None]) -> dict[str, str]:
    return {f"steps.{id_}.{field}": type_ for id_ in steps for field, type_ in STEP_FIELDS.items()}
