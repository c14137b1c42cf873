"""A definition compiled for the engine: who waits for whom, and every expression ready to run."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from threading import Lock
from typing import Any

from pydantic import ValidationError

from runtime.definition.expressions import Expression, compile_expression
from runtime.definition.fields import REMOTE_MODELS, always_text, compile_mapping, engine_template
from runtime.definition.model import Definition, Goto, Retry, Step, StepKind
from runtime.definition.templates import Template
from runtime.errors import DefinitionInvalid

REMOTE = frozenset(REMOTE_MODELS)
_BY_ITEM = frozenset({"item", "index"})


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step, compiled."""

    id: str
    step: Step
    kind: StepKind
    final: bool
    """Stands in `finally`."""
    needs: tuple[str, ...]
    """Steps it waits for: those it names in `needs` and those its expressions read, without its routers."""
    routers: tuple[str, ...]
    """Steps that choose whether it runs: switches with a case for it, steps whose `on_error` goes to it."""
    dependents: tuple[str, ...]
    """Steps that have this one among their needs or routers."""
    when: Expression | None
    over: Expression | None
    until: Expression | None
    cases: tuple[tuple[Expression | None, str], ...]
    """Of a switch: condition (None for else) and the step chosen."""
    values: Template | None
    """What the engine renders itself. It renders to: of a set its mapping; of a workflow its inputs; of an approval
    `{message, show}`; of a wait `{for: duration text or number of seconds}` or `{until: RFC 3339 text}`. None for all others."""
    scope_names: frozenset[str]
    """Names the executor of an agent, http, python or code step needs, without `item` and `index`."""
    retry: Retry
    timeout: int | None
    """Milliseconds of one attempt."""
    on_crash: str
    conversation: Template | None
    """Of an agent: renders to the name of its conversation. The engine does that, because the owner reads conversations."""
    talks: bool
    """Its messages are kept, because something reads them."""
    spec: dict[str, Any]
    """The step as JSON, for the executor."""
    remote: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """A definition, compiled. `steps` holds main and final steps together; their ids are unique over both."""

    definition: Definition
    hash: str
    steps: Mapping[str, PlannedStep]
    main: tuple[str, ...]
    """Topological order; steps that could stand in any order keep that of the document."""
    final: tuple[str, ...]
    outputs: Mapping[str, Expression]
    sinks: tuple[str, ...]
    """Main steps no other main step needs or is routed to from: what the run returns when the definition names no outputs."""
    goto_targets: frozenset[str]
    slot_key: Expression | None = None
    """`concurrency.key`, over the inputs alone."""

    @property
    def spends(self) -> bool:
        """Whether its runs, or runs they start, can make model calls."""
        return any(step.kind in (StepKind.AGENT, StepKind.WORKFLOW) for step in self.steps.values())


@dataclass(frozen=True, slots=True)
class _Parts:
    """The expressions of one step."""

    when: Expression | None
    over: Expression | None
    until: Expression | None
    cases: tuple[tuple[Expression | None, str], ...]
    values: Template | None
    executor: Template | None
    conversation: Template | None

    @property
    def names(self) -> frozenset[str]:
        expressions = [self.when, self.over, self.until, self.values, self.executor, *(condition for condition, _ in self.cases)]
        return frozenset().union(*(expression.names for expression in expressions if expression is not None))


class _Recent:
    """The last plans used, by hash."""

    def __init__(self, size: int) -> None:
        self._size, self._plans, self._lock = size, OrderedDict[str, Plan](), Lock()

    def get(self, key: str) -> Plan | None:
        with self._lock:
            if key in self._plans:
                self._plans.move_to_end(key)
            return self._plans.get(key)

    def put(self, key: str, plan: Plan) -> Plan:
        with self._lock:
            self._plans[key] = plan
            if len(self._plans) > self._size:
                self._plans.popitem(last=False)
        return plan


_recent = _Recent(256)


def plan_for(document: dict[str, Any], hash: str) -> Plan:  # noqa: A002  # the word of the glossary
    """The plan of a stored definition, cached by its content hash. Raises DefinitionInvalid when it cannot be compiled."""
    plan = _recent.get(hash)
    if plan is not None:
        return plan
    try:
        definition = Definition.model_validate(document)
    except ValidationError as error:
        raise DefinitionInvalid(f"the stored definition is not valid: {error.errors()[0]['msg']}") from error
    return plan_of(definition, hash)


def plan_of(definition: Definition, hash: str) -> Plan:  # noqa: A002  # the word of the glossary
    """The plan of a valid definition, kept for `plan_for`. Raises DefinitionInvalid."""
    plan = _recent.get(hash)
    return plan if plan is not None else _recent.put(hash, compile_plan(definition, hash))


def compile_plan(definition: Definition, hash: str) -> Plan:  # noqa: A002  # the word of the glossary
    """Compile a valid definition. Raises DefinitionInvalid for bad expressions and cycles."""
    final = definition.finally_
    steps = {**definition.steps, **final}
    parts = {name: _parts(step) for name, step in steps.items()}
    routers = _routers(steps)
    needs = {name: tuple(_needs(name, step, parts[name].names, final, routers[name])) for name, step in steps.items()}
    dependents: dict[str, list[str]] = {name: [] for name in steps}
    for name in steps:
        for other in (*needs[name], *routers[name]):
            if other in dependents:
                dependents[other].append(name)
    outputs = {name: compile_expression(source) for name, source in definition.outputs.items()}
    heard = _heard([*(part.names for part in parts.values()), *(output.names for output in outputs.values())])
    planned = {}
    for name, step in steps.items():
        links = (needs[name], routers[name], tuple(dependents[name]))
        planned[name] = _planned(name, step, parts[name], definition, final=name in final, heard=name in heard, links=links)
    main = ordered(definition.steps, {name: (*needs[name], *routers[name]) for name in definition.steps})
    return Plan(
        definition=definition,
        hash=hash,
        steps=planned,
        main=main,
        final=ordered(final, {name: (*needs[name], *routers[name]) for name in final}),
        outputs=outputs,
        sinks=tuple(name for name in main if all(planned[other].final for other in planned[name].dependents)),
        goto_targets=frozenset(step.on_error.goto for step in steps.values() if isinstance(step.on_error, Goto)),
        slot_key=_expression(definition.concurrency.key if definition.concurrency else None),
    )


def step_references(names: Iterable[str]) -> list[str]:
    """Ids of the steps these names read, in sorted order."""
    return sorted({name.split(".")[1] for name in names if name.startswith("steps.")})


def _heard(names: Iterable[Iterable[str]]) -> frozenset[str]:
    """Steps whose messages are read somewhere."""
    return frozenset(name.split(".")[1] for some in names for name in some if name.startswith("steps.") and name.endswith(".messages"))


def _needs(name: str, step: Step, names: Iterable[str], final: Mapping[str, Step], routers: tuple[str, ...]) -> dict[str, None]:
    """An ordered set. Steps in `finally` wait for each other only: when they start, the others have ended."""
    found = dict.fromkeys((*step.needs, *step_references(names)))
    return {other: None for other in found if other != name and other not in routers and (name not in final or other in final)}


def _routers(steps: Mapping[str, Step]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {name: {} for name in steps}
    for name, step in steps.items():
        targets = [case.then or case.otherwise for case in step.switch or ()]
        if isinstance(step.on_error, Goto):
            targets.append(step.on_error.goto)
        for target in targets:
            if target in found:
                found[target][name] = None
    return {name: tuple(routers) for name, routers in found.items()}


def _parts(step: Step) -> _Parts:
    cases = tuple((_expression(case.when), case.then or case.otherwise or "") for case in step.switch or ())
    remote = step.kind in REMOTE
    return _Parts(
        when=_expression(step.when),
        over=_expression(step.map.over if step.map else None),
        until=_expression(step.loop.until if step.loop else None),
        cases=cases,
        values=None if remote else engine_template(step),
        conversation=None if step.agent is None or step.agent.conversation is None else always_text(step.agent.conversation),
        executor=compile_mapping(step.kind, getattr(step, step.kind.value).model_dump(mode="json", by_alias=True)) if remote else None,
    )


def _expression(source: str | None) -> Expression | None:
    return None if source is None else compile_expression(source)


def _planned(name: str, step: Step, parts: _Parts, definition: Definition, *, final: bool, heard: bool, links: tuple[tuple[str, ...], ...]) -> PlannedStep:
    defaults = definition.defaults
    own_on_crash = step.on_crash if "on_crash" in step.model_fields_set else None
    needs, routers, dependents = links
    return PlannedStep(
        id=name,
        step=step,
        kind=step.kind,
        final=final,
        needs=needs,
        routers=routers,
        dependents=dependents,
        when=parts.when,
        over=parts.over,
        until=parts.until,
        cases=parts.cases,
        values=parts.values,
        scope_names=_scope_names(step, parts),
        retry=step.retry or defaults.retry or Retry(),
        timeout=step.timeout if step.timeout is not None else defaults.timeout,
        on_crash=own_on_crash or defaults.on_crash or "retry",
        conversation=parts.conversation,
        talks=heard or parts.conversation is not None,
        spec=step.model_dump(mode="json", by_alias=True, exclude_unset=True),
        remote=step.kind in REMOTE,
    )


def _scope_names(step: Step, parts: _Parts) -> frozenset[str]:
    """What the executor renders with; of an agent with attachments also the artifacts of every step it reads, for it may be shown no others."""
    if parts.executor is None:
        return frozenset()
    shown = step_references(parts.names) if step.agent is not None and step.agent.attachments is not None else ()
    return (parts.executor.names - _BY_ITEM) | {f"steps.{other}.artifacts" for other in shown}


def ordered(steps: Iterable[str], before: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Topological order; among steps that are free, that of `steps`. Raises DefinitionInvalid for a cycle."""
    ids = list(steps)
    place = {name: at for at, name in enumerate(ids)}
    waits = {name: {other for other in before[name] if other in place} for name in ids}
    after: dict[str, list[str]] = {name: [] for name in ids}
    for name, others in waits.items():
        for other in others:
            after[other].append(name)
    open_ = {name: len(others) for name, others in waits.items()}
    free = [place[name] for name in ids if not open_[name]]  # ascending, so it is a heap already
    order: list[str] = []
    while free:
        name = ids[heappop(free)]
        order.append(name)
        for next_ in after[name]:
            open_[next_] -= 1
            if not open_[next_]:
                heappush(free, place[next_])
    if len(order) < len(ids):
        raise DefinitionInvalid("some steps wait for each other in a circle")
    return tuple(order)
