"""Write a definition in Python. It makes the very document one would write by hand:

flow = Flow("research-brief")
sources = flow.input("sources", {"type": "array"})
notes = flow.agent("notes", prompt=f"Note what matters in {item}.", map=Map(over=sources.cel))
brief = flow.agent("brief", prompt=f"Write a brief from {notes.output}.")
flow.output("brief", brief.output)
loaded = flow.build()
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from pydantic import BaseModel

from runtime.definition.model import AgentLimits, Budget, Concurrency, Defaults, Loop, Map, Resources, Retry
from runtime.definition.validation import Loaded, parse

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Ref:
    """A value of the run. In a text or value it stands as `${{ … }}`; `cel` is the path for expressions."""

    __slots__ = ("cel",)

    def __init__(self, cel: str) -> None:
        self.cel = cel

    def __str__(self) -> str:
        return f"${{{{ {self.cel} }}}}"

    def __repr__(self) -> str:
        return f"Ref({self.cel!r})"

    def __getitem__(self, key: str | int) -> "Ref":
        """A field or an element: `ref["title"]`, `ref[0]`."""
        if isinstance(key, int):
            return Ref(f"{self.cel}[{key}]")
        if _IDENTIFIER.fullmatch(key):
            return Ref(f"{self.cel}.{key}")
        quoted = key.replace("\\", "\\\\").replace("'", "\\'")
        return Ref(f"{self.cel}['{quoted}']")


class StepRef:
    """A step that was added."""

    __slots__ = ("artifacts", "error", "id", "messages", "output", "status")

    def __init__(self, id: str) -> None:  # noqa: A002  # what it is called in a document
        self.id = id
        self.output, self.status, self.error = (Ref(f"steps.{id}.{field}") for field in ("output", "status", "error"))
        self.messages, self.artifacts = Ref(f"steps.{id}.messages"), Ref(f"steps.{id}.artifacts")


item, index = Ref("item"), Ref("index")
iteration, previous = Ref("iteration"), Ref("previous")
run_id, run_status, run_error = Ref("run.id"), Ref("run.status"), Ref("run.error")

Expression = str | Ref
Step = str | StepRef


class Options(TypedDict, total=False):
    """What every step can say."""

    description: str
    needs: Sequence[Step]
    join: Literal["all", "any"]
    when: Expression
    map: Map | Mapping[str, Any]
    loop: Loop | Mapping[str, Any]
    retry: Retry | Mapping[str, Any]
    timeout: str | float
    deadline: str | float
    on_error: Literal["fail", "continue"] | StepRef | Mapping[str, str]
    """A step that was added, or `{"goto": id}`, to go on there."""
    on_crash: Literal["retry", "fail", "ask"]
    resources: Resources | Mapping[str, Any]
    final: bool
    """Put the step into `finally`."""


class AgentOptions(Options, total=False):
    instructions: str
    model: str | Sequence[str]
    history: Any
    conversation: str | Ref
    attachments: Any
    tools: Sequence[str | Mapping[str, Any]]
    output: Mapping[str, Any]
    temperature: float
    max_tokens: int
    stream: bool | Literal["auto"]
    limits: AgentLimits | Mapping[str, Any]


class HttpOptions(Options, total=False):
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    headers: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    expect: Sequence[int]
    max_response: str | int


class CodeOptions(Options, total=False):
    memory: str | int


class WorkflowOptions(Options, total=False):
    inputs: Mapping[str, Any]
    version: str


class ApprovalOptions(Options, total=False):
    message: str
    form: Mapping[str, Any]
    show: Any
    expires: str | float
    on_expiry: Literal["reject", "approve", "fail"]
    on_reject: Literal["continue", "fail"]


class SignalOptions(Options, total=False):
    payload: Mapping[str, Any]
    expires: str | float


class Header(TypedDict, total=False):
    """What a definition says besides its inputs, steps and outputs."""

    description: str
    defaults: Defaults | Mapping[str, Any]
    budget: Budget | Mapping[str, Any]
    deadline: str | float
    retention: str | float
    concurrency: Concurrency | Mapping[str, Any]
    isolation: Literal["shared", "dedicated"]
    labels: Mapping[str, str]


class Flow:
    """A definition in the making. Nothing is checked before `build`."""

    def __init__(self, name: str, **header: Unpack[Header]) -> None:
        self._document: dict[str, Any] = {"name": name, **_plain(header)}

    def input(self, name: str, schema: Mapping[str, Any]) -> Ref:
        """Declare an input by its JSON Schema."""
        self._document.setdefault("inputs", {})[name] = _plain(schema)
        return Ref(f"inputs.{name}")

    def output(self, name: str, value: Expression) -> None:
        """Give the run's result a field."""
        self._document.setdefault("outputs", {})[name] = _expression(value)

    def agent(self, id: str, *, prompt: str | Ref, **options: Unpack[AgentOptions]) -> StepRef:  # noqa: A002  # what it is called in a document
        return self._add(id, "agent", {"prompt": prompt}, options, AgentOptions)

    def http(self, id: str, *, url: str | Ref, **options: Unpack[HttpOptions]) -> StepRef:  # noqa: A002  # as above
        return self._add(id, "http", {"url": url}, options, HttpOptions)

    def python(self, id: str, *, function: str, args: Mapping[str, Any] | None = None, **options: Unpack[Options]) -> StepRef:  # noqa: A002  # as above
        return self._add(id, "python", {"function": function} if args is None else {"function": function, "args": args}, options, Options)

    def code(self, id: str, source: str, *, inputs: Mapping[str, Any] | None = None, **options: Unpack[CodeOptions]) -> StepRef:  # noqa: A002  # as above
        return self._add(id, "code", {"source": source} if inputs is None else {"source": source, "inputs": inputs}, options, CodeOptions)

    def set(self, id: str, values: Mapping[str, Any], **options: Unpack[Options]) -> StepRef:  # noqa: A002  # as above
        return self._add(id, "set", values, options, Options)

    def switch(self, id: str, cases: Sequence[tuple[Expression, Step]], *, otherwise: Step | None = None, **options: Unpack[Options]) -> StepRef:  # noqa: A002  # as above
        """`cases`: (condition, step) in order; `otherwise` takes what is left."""
        rows: list[dict[str, str]] = [{"when": _expression(when), "then": _id(then)} for when, then in cases]
        return self._add(id, "switch", rows + ([] if otherwise is None else [{"else": _id(otherwise)}]), options, Options)

    def workflow(self, id: str, *, name: str, **options: Unpack[WorkflowOptions]) -> StepRef:  # noqa: A002  # as above
        return self._add(id, "workflow", {"name": name}, options, WorkflowOptions)

    def approval(self, id: str, **options: Unpack[ApprovalOptions]) -> StepRef:  # noqa: A002  # as above
        return self._add(id, "approval", {}, options, ApprovalOptions)

    def wait(self, id: str, *, duration: str | float | Ref | None = None, until: str | Ref | None = None, **options: Unpack[Options]) -> StepRef:  # noqa: A002  # as above
        wait = {"for": duration, "until": until}
        return self._add(id, "wait", {key: value for key, value in wait.items() if value is not None}, options, Options)

    def signal(self, id: str, *, name: str, **options: Unpack[SignalOptions]) -> StepRef:  # noqa: A002  # as above
        return self._add(id, "signal", {"name": name}, options, SignalOptions)

    def document(self) -> dict[str, Any]:
        """The definition as JSON, not yet checked."""
        copied: dict[str, Any] = _plain(self._document)
        return copied

    def build(self) -> Loaded:
        """The checked definition. Raises DefinitionInvalid with all problems."""
        return parse(self.document())

    def _add(self, id_: str, kind: str, part: Any, options: Mapping[str, Any], allowed: type) -> StepRef:
        own = {key for key in allowed.__annotations__ if key not in Options.__annotations__}
        section = self._document.setdefault("finally" if options.get("final") else "steps", {})
        if id_ in section:
            raise ValueError(f"there is a step '{id_}' already")
        step = {kind: {**part, **{key: value for key, value in options.items() if key in own}} if isinstance(part, Mapping) else part}
        for key, value in options.items():
            if key not in own and key != "final":
                step[key] = _option(key, value)
        section[id_] = _plain(step)
        return StepRef(id_)


def _option(key: str, value: Any) -> Any:
    if key == "when":
        return _expression(value)
    if key == "needs":
        return [_id(step) for step in value]
    return {"goto": value.id} if key == "on_error" and isinstance(value, StepRef) else value


def _expression(value: Expression) -> str:
    return value.cel if isinstance(value, Ref) else value


def _id(step: Step) -> str:
    return step.id if isinstance(step, StepRef) else step


def _plain(value: Any) -> Any:
    """JSON of what a caller gave: models, references and tuples included. A copy throughout."""
    if isinstance(value, Ref):
        return str(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
