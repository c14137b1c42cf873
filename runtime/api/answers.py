"""The shapes of answers, for the OpenAPI document alone: answers are written straight from `runtime/gateway/views.py`, and tests compare."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from runtime.api.answers_money import RunBudget, Usage
from runtime.engine.events import Kind
from runtime.engine.states import RunStatus, StepStatus, WaitingFor

Json = Any
Object = dict[str, Any]
NextPage = Annotated[str | None, Field(description="Send it as `page_token` for the next page; null on the last one.")]


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Workflow(Answer):
    """One version of a workflow."""

    name: str
    version: str
    """Content hash."""
    number: int
    """Counts from 1 per workflow."""
    description: str
    created_at: AwareDatetime


class WorkflowDetail(Workflow):
    """One version of a workflow with its definition."""

    definition: Object


class Workflows(Answer):
    """A page of workflows or of versions."""

    workflows: list[Workflow]
    next_page_token: NextPage


class Validated(Answer):
    """A definition without problems."""

    valid: Literal[True]
    name: str
    version: str
    steps: list[str]
    """In the order of the plan, `finally` last."""


class Parent(Answer):
    """The step that started a run as a workflow of its own."""

    run_id: str
    step: str | None


class ScheduledBy(Answer):
    """The schedule that started a run, and for which tick; null when somebody triggered it by hand."""

    schedule_id: str
    tick: AwareDatetime | None


class Concurrency(Answer):
    """The limits a run was started with."""

    key: str | int | float | bool | None
    limit: int | None
    per_key: int | None
    holding: bool
    """Whether it has a slot: from when it may start until it has ended."""


class ConcurrencyDetail(Concurrency):
    """The same with the place in the queue."""

    position: int | None
    """Among the runs of its key that wait for a slot, from 1; null when it does not wait for one."""


class Run(Answer):
    """A run as lists show it."""

    run_id: str
    workflow: str
    version: str
    status: RunStatus
    waiting_for: WaitingFor | Literal["slot"] | None
    """`slot`: it is queued until another run ends."""
    mode: Literal["live", "simulated"]
    priority: int
    labels: dict[str, str]
    head: int
    """The seq of the last event."""
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    wake_at: AwareDatetime | None
    cancel_requested_at: AwareDatetime | None
    parent: Parent | None
    forked_from: str | None
    schedule: ScheduledBy | None
    concurrency: Concurrency | None
    error: Object | None


class RunDetail(Run):
    """A run with its inputs and output. Values over 1 MiB stand as `{"$artifact": …}`; `/values/{sha256}` gives them."""

    concurrency: ConcurrencyDetail | None
    inputs: Json
    output: Json
    usage: Usage
    """What its model calls took; of a run at the top with those of the runs below it."""
    budget: RunBudget | None


class Runs(Answer):
    """A page of runs, newest first."""

    runs: list[Run]
    next_page_token: NextPage


class StartedRun(Run):
    """A run of a batch; `created` is false when the idempotency key had already led to it."""

    created: bool


class StartedRuns(Answer):
    """The runs of a batch, in its order."""

    runs: list[StartedRun]


class ItemCounts(Answer):
    """How many items of a map are in which state."""

    total: int
    succeeded: int
    failed: int
    running: int
    waiting: int
    """For answers to calls of tools."""
    retrying: int
    pending: int
    canceled: int


class Step(Answer):
    """One step of a run."""

    step: str
    kind: str
    status: StepStatus
    attempt: int
    iteration: int | None
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    due_at: AwareDatetime | None
    waiting: Object | None
    reason: str | None
    cached: bool
    items: ItemCounts | None
    output: Json
    error: Object | None
    usage: Usage | None
    """Null: it has made no model call."""


class Steps(Answer):
    """All steps of a run, in the order of the plan."""

    steps: list[Step]
    progress: dict[StepStatus, int]


class Item(Answer):
    """One element of a map."""

    index: int
    status: StepStatus
    attempt: int
    output: Json
    error: Object | None
    due_at: AwareDatetime | None


class Items(Answer):
    """A page of a map's items, by index."""

    items: list[Item]
    next_page_token: NextPage


class Event(Answer):
    """One fact of the journal."""

    seq: int
    epoch: int
    event: Kind
    at: AwareDatetime
    step: str | None
    attempt: int | None
    body: Object | None


class Said(Answer):
    """What a delta is about."""

    index: int | None
    """Position in the map, null outside of one."""
    call: int
    """The number of the model call within the step, as in its `call.finished`."""
    offset: int | None
    """Where the text stands in the text of the call, in characters (code points); 0 begins it anew. Null in `step.delta_dropped`."""
    text: str | None
    format: Literal["text", "json"]
    """`json`: the answer as the model writes it to a schema; not to be parsed before it is whole."""
    because: str | None
    """Of `step.delta_dropped`: the code of what has happened."""


class Lost(Answer):
    """How much did not reach this stream."""

    characters: int


class Delta(Answer):
    """What a model says while it says it. Outside the journal: without a seq, never repeated, perhaps missing."""

    event: Literal["step.delta", "step.delta_dropped", "step.delta_lost"]
    """`step.delta_dropped`: the text of this call so far is void. `step.delta_lost`: the client was too slow, and texts have gaps."""
    step: str | None
    attempt: int | None
    """The attempt that has made the call."""
    body: Said | Lost


class Events(Answer):
    """A page of the journal, oldest first."""

    events: list[Event]
    next_page_token: NextPage


class Ticket(Answer):
    """Opens one event stream, once."""

    ticket: str
    url: str
    expires_at: AwareDatetime


class Approval(Answer):
    """A question to a person, and the answer."""

    approval_id: str
    run_id: str
    workflow: str
    step: str
    message: str
    form: Json
    show: Json
    requested_at: AwareDatetime
    expires_at: AwareDatetime | None
    decided_at: AwareDatetime | None
    decision: Object | None


class Approvals(Answer):
    """A page of approvals, newest first."""

    approvals: list[Approval]
    next_page_token: NextPage


class Artifact(Answer):
    """A named file of a run."""

    name: str
    sha256: str
    size: int
    """Bytes."""
    media_type: str
    step: str | None
    created_at: AwareDatetime


class Artifacts(Answer):
    """A page of a run's artifacts, by name."""

    artifacts: list[Artifact]
    next_page_token: NextPage


class Exchange(Answer):
    """What one agent step has said in a conversation."""

    seq: int
    run_id: str
    step: str
    at: AwareDatetime
    messages: list[dict[str, Any]]
    """`{role: user, content}`, `{role: assistant, content, tool_calls?}` and `{role: tool, content, tool_call_id, name}`."""


class Conversation(Answer):
    """A conversation and a page of its exchanges, oldest first."""

    conversation_id: str
    created_at: AwareDatetime
    updated_at: AwareDatetime
    last_seq: int
    """The number of the last exchange. Only the last 1,000 are kept."""
    exchanges: list[Exchange]
    next_page_token: NextPage


class Key(Answer):
    """An API key without its secret."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None


class NewKey(Key):
    """A key just made; its text is shown this one time."""

    key: str


class Keys(Answer):
    """All API keys of the tenant."""

    keys: list[Key]


class Health(Answer):
    """What the platform says of itself."""

    status: Literal["ok"]
    durability: Literal["full", "relaxed"]
    """`relaxed`: a power loss may take the last commits."""


class Alive(Answer):
    """The process answers."""

    status: Literal["ok"]


class ProblemError(Answer):
    """One thing that is wrong, and where."""

    pointer: str
    """JSON pointer into the body, or `/query/…`, `/header/…`."""
    detail: str
    line: int | None = None
    column: int | None = None


class Problem(Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: list[ProblemError] = []
    run_id: str | None = None
