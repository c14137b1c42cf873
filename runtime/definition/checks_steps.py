"""What a step says about itself: one kind, options that fit it, schemas, names."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from runtime.definition.findings import Findings
from runtime.definition.foreign import Refused
from runtime.definition.model import Step, StepKind
from runtime.definition.names import CEL_WORDS
from runtime.definition.openapi import operations_of, server_of
from runtime.definition.pointers import join
from runtime.definition.schemas import check_value, schema_problem
from runtime.definition.structure import Draft
from runtime.definition.tools import API_NAME, NEVER, Entry, OpenApiTools
from runtime.definition.types import parse_duration

_ATTEMPTS = frozenset({StepKind.AGENT, StepKind.HTTP, StepKind.PYTHON, StepKind.CODE, StepKind.WORKFLOW})
"""Kinds that make attempts, which may fail and be repeated."""
_WAITING = frozenset({StepKind.APPROVAL, StepKind.WAIT, StepKind.SIGNAL})
"""Kinds that wait for something from outside: as the items of a map they would need a state and an id each, which only runs have."""
_INSTEAD = {StepKind.APPROVAL: "; write approval.expires", StepKind.SIGNAL: "; write signal.expires", StepKind.WAIT: "", StepKind.SET: "", StepKind.SWITCH: ""}


def check_steps(draft: Draft, findings: Findings) -> None:
    """Problems of each step on its own."""
    for section, steps in (("/steps", draft.steps), ("/finally", draft.final)):
        for id_, step in steps.items():
            pointer = join(section, id_)
            if id_ in CEL_WORDS:
                findings.add(pointer, f"'{id_}' is a word of the expression language; give the step another id", at_key=True)
            if section == "/finally" and id_ in draft.steps:
                findings.add(pointer, f"there is a step '{id_}' in steps already; ids are unique over both", at_key=True)
            if step is not None and pointer not in draft.broken and _check_kind(step, pointer, findings):
                for check in (_check_options, *_CHECKS.get(step.kind, ())):
                    check(step, pointer, findings)


def check_inputs_declared(draft: Draft, findings: Findings) -> None:
    """Problems of the inputs' names, schemas and defaults."""
    for name, schema in draft.inputs.items():
        pointer = join("/inputs", name)
        if name in CEL_WORDS:
            findings.add(pointer, f"'{name}' is a word of the expression language; give the input another name", at_key=True)
        if _check_schema(schema, pointer, findings) and "default" in schema:
            for problem in check_value(schema, schema["default"], join(pointer, "default")):
                findings.add(problem.pointer, f"the default does not fit the schema: {problem.detail}")


def check_defaults(draft: Draft, findings: Findings) -> None:
    """Problems of what steps use when they do not say otherwise."""
    defaults = draft.raw.get("defaults")
    if isinstance(defaults, dict):
        check_models(defaults.get("model"), "/defaults/model", findings)


def check_concurrency(draft: Draft, findings: Findings) -> None:
    """Problems of the limits of concurrency, as far as they are not those of the key's expression."""
    limits = draft.raw.get("concurrency")
    if not isinstance(limits, dict):
        return
    if limits.get("limit") is None and limits.get("per_key") is None:
        findings.add("/concurrency", "write limit, per_key or both: without them there is no limit", at_key=True)
    if limits.get("per_key") is not None and limits.get("key") is None:
        findings.add("/concurrency/per_key", "per_key needs key, the expression that says which runs belong together", at_key=True)


def _check_kind(step: Step, pointer: str, findings: Findings) -> bool:
    kinds = [kind.value for kind in StepKind if getattr(step, kind.value) is not None]
    if not kinds:
        findings.add(pointer, f"a step has exactly one of {', '.join(StepKind)}; this one has none", at_key=True)
    for kind in kinds[1:]:
        findings.add(join(pointer, kind), f"a step has exactly one kind; this one is '{kinds[0]}' already", at_key=True)
    return len(kinds) == 1


def _check_options(step: Step, pointer: str, findings: Findings) -> None:
    if step.map is not None and step.loop is not None:
        findings.add(join(pointer, "loop"), "a step has either map or loop; put one of them into a workflow of its own", at_key=True)
    if step.map is not None and step.kind in _WAITING:
        findings.add(join(pointer, "map"), f"{step.kind} steps have no map; put the step into a workflow of its own and map over that", at_key=True)
    if step.resources is not None and step.kind is not StepKind.PYTHON:
        findings.add(join(pointer, "resources"), f"only python steps have resources, not {step.kind} steps", at_key=True)
    if step.kind in _ATTEMPTS:
        return
    for option in ("retry", "timeout", "on_crash"):
        if option in step.model_fields_set:
            findings.add(join(pointer, option), f"{step.kind} steps make no attempts, so '{option}' means nothing here{_INSTEAD[step.kind]}", at_key=True)


def _check_switch(step: Step, pointer: str, findings: Findings) -> None:
    cases = step.switch or []
    for option in ("map", "loop"):
        if getattr(step, option) is not None:
            findings.add(join(pointer, option), f"a switch chooses once; '{option}' means nothing here", at_key=True)
    for at, case in enumerate(cases):
        where = join(pointer, "switch", at)
        shape = (case.when is not None, case.then is not None, case.otherwise is not None)
        if shape == (False, False, True):
            if at < len(cases) - 1:
                findings.add(where, "else takes everything that is left, so it comes last")
        elif shape != (True, True, False):
            findings.add(where, "a case is {when: <condition>, then: <step>} or {else: <step>}")


def _check_wait(step: Step, pointer: str, findings: Findings) -> None:
    wait = step.wait
    if wait is None:
        return
    if (wait.for_ is None) == (wait.until is None):
        findings.add(join(pointer, "wait"), "a wait has exactly one of for and until")
    _check_constant(wait.for_, join(pointer, "wait", "for"), parse_duration, findings)
    _check_constant(wait.until, join(pointer, "wait", "until"), _parse_time, findings)


def _check_constant(text: Any, pointer: str, parse: Callable[[str], Any], findings: Findings) -> None:
    """A text without segments must already be what it has to become."""
    if isinstance(text, str) and "${{" not in text:
        try:
            parse(text)
        except ValueError as error:
            findings.add(pointer, str(error))


def _parse_time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"'{text[:50]}' is not a time with its zone; write for example 2027-01-31T09:00:00Z")
    return time


def _check_agent(step: Step, pointer: str, findings: Findings) -> None:
    agent = step.agent
    if agent is None:
        return
    if agent.output is not None:
        _check_schema(agent.output, join(pointer, "agent", "output"), findings)
    for at, entry in enumerate(agent.tools):
        where = join(pointer, "agent", "tools", at)
        if isinstance(entry, OpenApiTools):
            _check_api(entry, where, findings)
        if isinstance(entry, Entry) and entry.expires is not None and entry.approve == NEVER:
            findings.add(join(where, "expires"), "expires means nothing without approve", at_key=True)
    check_models(agent.model, join(pointer, "agent", "model"), findings)
    if agent.conversation is None:
        return
    where = join(pointer, "agent", "conversation")
    if agent.history is not None:
        findings.add(where, "a step has either history or conversation: a conversation brings its own history", at_key=True)
    if step.map is not None:
        findings.add(
            where, "the items of a map work side by side and cannot take turns in one conversation; put the step into a workflow of its own", at_key=True
        )


def check_models(models: Any, pointer: str, findings: Findings) -> None:
    """Problems of a list of models."""
    for at, model in enumerate(models if isinstance(models, list) else ()):
        if model in models[:at]:
            findings.add(join(pointer, at), f"'{model}' stands in the list already; whoever could not answer is not asked again")


def _check_api(entry: OpenApiTools, pointer: str, findings: Findings) -> None:
    """A document that is at hand is read to its end, so that what a model could never call is known now."""
    if isinstance(entry.openapi, str):
        if not API_NAME.fullmatch(entry.openapi) and not entry.openapi.startswith(("https://", "http://")):
            findings.add(join(pointer, "openapi"), f"write the name of an API ({API_NAME.pattern}), or the URL of a document")
        return
    try:
        operations_of(entry.openapi, entry.operations)
    except Refused as reason:
        findings.add(pointer, str(reason))
        return
    if server_of(entry.openapi) is None:
        findings.add(join(pointer, "openapi"), "the document names no server, so nobody knows where its operations are: write servers: [{url: https://…}]")


def _check_approval(step: Step, pointer: str, findings: Findings) -> None:
    if step.approval is None:
        return
    if step.approval.form is not None:
        _check_schema(step.approval.form, join(pointer, "approval", "form"), findings)
    if "on_expiry" in step.approval.model_fields_set and step.approval.expires is None:
        findings.add(join(pointer, "approval", "on_expiry"), "on_expiry means nothing without expires", at_key=True)


def _check_signal(step: Step, pointer: str, findings: Findings) -> None:
    if step.signal is not None and step.signal.payload is not None:
        _check_schema(step.signal.payload, join(pointer, "signal", "payload"), findings)


def _check_schema(schema: Any, pointer: str, findings: Findings) -> bool:
    problem = schema_problem(schema, pointer)
    if problem is not None:
        findings.add(problem.pointer, f"this is no valid JSON Schema: {problem.detail}")
    return problem is None


_CHECKS: dict[StepKind, tuple[Callable[[Step, str, Findings], None], ...]] = {
    StepKind.SWITCH: (_check_switch,),
    StepKind.WAIT: (_check_wait,),
    StepKind.AGENT: (_check_agent,),
    StepKind.APPROVAL: (_check_approval,),
    StepKind.SIGNAL: (_check_signal,),
}
