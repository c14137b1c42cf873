"""Which fields of a step hold templates, and how the parts of a step become templates."""

from typing import Any

from runtime.definition.base import Model
from runtime.definition.model import Agent, Code, Http, Python, Step, StepKind
from runtime.definition.names import Names
from runtime.definition.templates import Constant, Object, Single, Template, Textual, compile_text, compile_value

REMOTE_MODELS: dict[StepKind, type[Model]] = {StepKind.AGENT: Agent, StepKind.HTTP: Http, StepKind.PYTHON: Python, StepKind.CODE: Code}
TEXTS = {StepKind.AGENT: ("prompt", "instructions", "conversation"), StepKind.HTTP: ("url",), StepKind.PYTHON: (), StepKind.APPROVAL: ("message",)}
"""Fields that are one text each; their result is always text."""
VALUES = {
    StepKind.AGENT: ("history", "attachments"),
    StepKind.HTTP: ("query", "body"),
    StepKind.PYTHON: ("args",),
    StepKind.CODE: ("inputs",),
    StepKind.APPROVAL: ("show",),
    StepKind.WORKFLOW: ("inputs",),
}
"""Fields that hold any JSON with texts inside."""
TEXT_OBJECTS = {StepKind.HTTP: ("headers",)}
"""Fields that are objects of texts."""


def always_text(text: str, declared: Names | None = None) -> Template:
    """Compile a text whose result is text whatever its segments yield. Raises TemplateInvalid."""
    template = compile_text(text, declared)
    return Textual(template) if isinstance(template, Single) else template


def compile_mapping(kind: StepKind, mapping: dict[str, Any]) -> Template:
    """One template over all fields of a step's kind; fields that hold no templates are constants. Raises TemplateInvalid."""
    compiled: dict[str, Template] = {}
    for key, value in mapping.items():
        if key in TEXTS.get(kind, ()) and isinstance(value, str):
            compiled[key] = always_text(value)
        elif key in TEXT_OBJECTS.get(kind, ()):
            compiled[key] = Object({name: always_text(text) for name, text in value.items()})
        else:
            compiled[key] = compile_value(value) if key in VALUES.get(kind, ()) else Constant(value)
    return Object(compiled)


def engine_template(step: Step) -> Template | None:
    """What the engine renders of a step that no executor carries out; None when there is nothing to render. Raises TemplateInvalid."""
    if step.set is not None:
        return compile_value(step.set)
    if step.workflow is not None:
        return compile_value(step.workflow.inputs)
    if step.approval is not None:
        return compile_mapping(StepKind.APPROVAL, {"message": step.approval.message, "show": step.approval.show})
    if step.wait is not None:
        return compile_value(step.wait.model_dump(mode="json", by_alias=True, exclude_none=True))
    return None
