"""Templates of agent, http, python and code steps, compiled once per definition where they are carried out."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from runtime.definition.fields import REMOTE_MODELS, compile_mapping
from runtime.definition.model import StepKind
from runtime.definition.templates import Object, Template


class CompiledSpec:
    """One step's mapping. `names` are all names its templates read; `each` says whether any of them differs between the items of a map."""

    __slots__ = ("_template", "each", "names")

    def __init__(self, template: Template) -> None:
        self._template, self.names = template, template.names
        self.each = not self.names.isdisjoint(("item", "index"))

    def render(self, scope: Mapping[str, Any]) -> dict[str, Any]:
        """The mapping with every text and value rendered and every default filled in. Raises ExpressionFailed.

        The result may share parts with `scope` and with earlier results: do not change it in place.
        """
        rendered: dict[str, Any] = self._template.render(scope)
        return rendered


def compile_spec(kind: str, spec: Mapping[str, Any]) -> CompiledSpec:
    """Compile a step (as JSON) of kind agent, http, python or code. Raises TemplateInvalid, or ValueError for another kind or an invalid step."""
    word = StepKind(kind)
    if word not in REMOTE_MODELS:
        raise ValueError(f"a {kind} step has no executor")
    mapping = REMOTE_MODELS[word].model_validate(spec[kind]).model_dump(mode="json", by_alias=True)
    template = compile_mapping(word, mapping)
    return CompiledSpec(template if isinstance(template, Object) else Object({}))


class _Unhashed:
    """A step passed beside its key without being part of it."""

    __slots__ = ("spec",)

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.spec = spec

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)


def spec_for(definition: str, step: str, kind: str, spec: Mapping[str, Any]) -> CompiledSpec:
    """The compiled step, cached by the definition's hash and the step's id. Raises as `compile_spec`."""
    return _cached(definition, step, kind, _Unhashed(spec))


@lru_cache(maxsize=4096)
def _cached(definition: str, step: str, kind: str, spec: _Unhashed) -> CompiledSpec:  # noqa: ARG001  # definition and step are the key
    return compile_spec(kind, spec.spec)
