"""What a user writes: the definition language as one pydantic model. Its JSON Schema is published; this file is the law.

Three notations, told apart by the field and never guessed:
an *expression* field (`when`, `over`, `until`, `outputs`…) holds bare CEL; a *text* field holds text with `${{ cel }}` segments;
a *value* field (`args`, `set`, `body`…) holds JSON whose strings are texts.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, PositiveInt

from runtime.definition.base import Model
from runtime.definition.tools import MAX_TOOLS, Tools
from runtime.definition.types import Cel, Duration, InputName, JsonSchema, ModelNames, Size, StepId, Text, Threshold, Value, WorkflowName
from runtime.sandbox.program import DEFAULT_MEMORY, MAX_MEMORY, MAX_SOURCE, MIN_MEMORY

MAX_STEPS = 1_000
MAX_MAP_ITEMS = 100_000
MAX_LOOP_ITERATIONS = 10_000
MAX_SLOTS = 100_000
MAX_TTL = 30 * 86_400_000


class StepKind(StrEnum):
    """What a step does. The word is the key a user writes."""

    AGENT = "agent"
    HTTP = "http"
    PYTHON = "python"
    CODE = "code"
    SET = "set"
    SWITCH = "switch"
    WORKFLOW = "workflow"
    APPROVAL = "approval"
    WAIT = "wait"
    SIGNAL = "signal"


class Retry(Model):
    """How often and how patiently a failed attempt is repeated."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """All attempts together, the first one included."""
    backoff: Literal["exponential", "linear", "constant"] = "exponential"
    initial: Duration = 1000
    """Delay before the second attempt."""
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    maximum: Duration = 60_000
    """No delay is longer than this, except one the other side asks for with Retry-After."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of each delay that is random; the seed is in the journal, so a replay waits the same."""
    non_retryable: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=50)
    """Error codes that are final at once."""


class Resources(Model):
    """What an isolated step needs. A step with resources runs in a process of its own, placed by Ray."""

    num_cpus: Annotated[float, Field(gt=0, le=1024)] = 1.0
    num_gpus: Annotated[float, Field(ge=0, le=64)] = 0.0
    memory: Size | None = None
    labels: dict[str, str] = Field(default={}, max_length=20)
    """Node labels the step must be placed on, such as `ray.io/market-type: spot`."""
    start_within: Duration = 600_000
    """How long the step may wait for a place before it fails with `no_resources`."""


class Map(Model):
    """Run the step once for each element of a list, in parallel, the order of results kept."""

    over: Cel
    """A list. Inside the step, `item` is the element and `index` its position from 0."""
    concurrency: Annotated[int, Field(ge=1, le=100_000)] = 1000
    max_failures: Threshold = 0
    """More failed items than this fail the step; failed items up to it become null in the output."""


class Loop(Model):
    """Run the step again and again; its output is that of the last iteration."""

    until: Cel | None = None
    """Evaluated after each iteration; true ends the loop. Sees `output`, `iteration` and everything the step sees."""
    max_iterations: Annotated[int, Field(ge=1, le=MAX_LOOP_ITERATIONS)] = 100
    on_limit: Literal["succeed", "fail"] = "fail"
    """What reaching `max_iterations` means when `until` never came true; without `until` it always succeeds."""
    delay: Duration = 0
    """Pause between two iterations."""


class AgentLimits(Model):
    turns: Annotated[int, Field(ge=1, le=1000)] = 50
    """Model calls."""
    tool_calls: Annotated[int, Field(ge=0, le=10_000)] = 200
    tokens: PositiveInt | None = None
    """Input and output together, over all calls."""
    limiter_wait: Duration = 3_600_000
    """How long one model call may wait for the limiter of its provider key before the attempt fails with `rate_limited`."""


def _ttl(ms: int) -> int:
    if not 1000 <= ms <= MAX_TTL:
        raise ValueError("a cached answer is given again for 1s to 30d")
    return ms


class Cache(Model):
    """Answers to the very same question are given again instead of asked for again. Absent: they are not."""

    ttl: Annotated[Duration, AfterValidator(_ttl)]
    """How old an answer may be."""
    scope: Literal["workflow", "tenant"] = "workflow"
    """Who shares answers: the steps of this workflow, in all its runs, or all workflows of the tenant whose steps say `tenant`."""


class Agent(Model):
    """A language model with instructions and tools, working until it has an answer."""

    prompt: Text
    instructions: Text = ""
    model: ModelNames | None = None
    """`provider:model`, such as `openai:gpt-5-mini`, or a list of such: the next one is asked when one cannot answer. The workflow's default when absent."""
    history: Value = None
    """Messages that come before the prompt: those of an earlier step, `${{ steps.draft.messages }}`, or a list of `{role, content}`."""
    conversation: Text | None = None
    """The name of a conversation that outlives the run: what was said in it comes before the prompt, and this step is added to it."""
    attachments: Value = None
    """Artifacts of earlier steps the model is shown beside the prompt: one, a list, or all of a step, `${{ steps.scan.artifacts }}`."""
    tools: list[Tools] = Field(default=[], max_length=MAX_TOOLS)
    """Names of registered functions or `module:function` of an allowed module, operations of HTTP APIs, tools of MCP servers."""
    output: JsonSchema | None = None
    """The schema the answer must satisfy; plain text when absent."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: PositiveInt | None = None
    stream: bool | Literal["auto"] = "auto"
    """Whether models are asked for their text while they write it: `auto` does so when somebody follows the run with `deltas` as a call begins."""
    limits: AgentLimits = AgentLimits()
    cache: Cache | None = None
    """Whether earlier answers may be given again; each model call is asked for when absent."""


class Http(Model):
    """One HTTP request. The response's `{status, headers, body}` is the output; 4xx and 5xx fail the step unless expected."""

    url: Text
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: dict[str, Text] = Field(default={}, max_length=100)
    query: dict[str, Value] = Field(default={}, max_length=100)
    body: Value = None
    """Sent as JSON unless it is text and `headers` set another Content-Type."""
    expect: list[Annotated[int, Field(ge=100, le=599)]] = Field(default=[], max_length=50)
    """Status codes that count as success besides 2xx."""
    max_response: Size = 10 * 2**20


class Python(Model):
    """A Python function the operator has installed and allowed: `module:function`."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=300)]
    args: dict[str, Value] = Field(default={}, max_length=100)
    """Keyword arguments."""


def _memory(size: int) -> int:
    if not MIN_MEMORY <= size <= MAX_MEMORY:
        raise ValueError(f"the memory of a program is between {MIN_MEMORY >> 20}MiB and {MAX_MEMORY >> 20}MiB; more belongs into a python step")
    return size


class Code(Model):
    """A small program in a sandbox: JSON in, JSON out, and nothing else within its reach."""

    source: Annotated[str, Field(min_length=1, max_length=MAX_SOURCE, json_schema_extra={"x-agentic": "code"})]
    """A subset of Python, no template: values come as `inputs`. What it returns at its top level (`return …`) is the output."""
    inputs: dict[InputName, Value] = Field(default={}, max_length=100)
    """The names the program finds."""
    memory: Annotated[Size, AfterValidator(_memory)] = DEFAULT_MEMORY
    """Of the program with all its values."""


class Case(Model):
    """One branch of a switch; the first whose `when` is true is taken. `else` takes what is left and comes last."""

    when: Cel | None = None
    then: StepId | None = None
    otherwise: StepId | None = Field(default=None, alias="else")


class Workflow(Model):
    """Another workflow as a run of its own; its outputs are the step's output."""

    name: WorkflowName
    inputs: dict[str, Value] = Field(default={}, max_length=100)
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The content hash to run; the newest version at the time the step starts when absent."""


class Approval(Model):
    """A question to a person. The step waits; the output is `{approved, decision, form, by, comment, at}`."""

    message: Text = ""
    form: JsonSchema | None = None
    """Schema of what the person fills in."""
    show: Value = None
    """What the person should see before deciding."""
    expires: Duration | None = None
    on_expiry: Literal["reject", "approve", "fail"] = "reject"
    on_reject: Literal["continue", "fail"] = "fail"
    """`fail` ends the step with code `rejected`; `continue` gives the decision to the next steps."""


class Wait(Model):
    """Let time pass. Exactly one of the two."""

    for_: Duration | Text | None = Field(default=None, alias="for")
    """A duration, or a text that becomes one."""
    until: Text | None = None
    """An RFC 3339 time, or a text that becomes one."""


class Signal(Model):
    """Wait for a message from outside, sent to the run by name; its payload is the output."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]{0,99}$")]
    payload: JsonSchema | None = None
    expires: Duration | None = None
    """The step fails with code `expired` when nothing came in time."""


class Goto(Model):
    """Go on at another step when this one fails; that step is skipped when it does not."""

    goto: StepId


class Step(Model):
    """One step: exactly one kind, and how it starts, repeats and fails."""

    agent: Agent | None = None
    http: Http | None = None
    python: Python | None = None
    code: Code | None = None
    set: dict[StepId, Value] | None = None
    """Values computed from earlier ones, without leaving the engine."""
    switch: Annotated[list[Case], Field(min_length=1, max_length=100)] | None = None
    """Chooses one of several next steps. The output is the chosen step's id."""
    workflow: Workflow | None = None
    approval: Approval | None = None
    wait: Wait | None = None
    signal: Signal | None = None

    description: Annotated[str, Field(max_length=2000)] = ""
    needs: list[StepId] = Field(default=[], max_length=MAX_STEPS)
    """Steps that must succeed first, besides those the expressions name."""
    join: Literal["all", "any"] = "all"
    """`any`: start when every needed step has ended and at least one of them succeeded."""
    when: Cel | None = None
    """Skip the step unless this is true."""
    map: Map | None = None
    loop: Loop | None = None
    retry: Retry | None = None
    timeout: Duration | None = None
    """Of one attempt."""
    deadline: Duration | None = None
    """Of the whole step, all attempts and delays together."""
    on_error: Literal["fail", "continue"] | Goto = "fail"
    on_crash: Literal["retry", "fail", "ask"] = "retry"
    """What happens when it is not known whether an attempt that was started had its effect."""
    resources: Resources | None = None

    @property
    def kind(self) -> StepKind:
        """The one kind that is set. Only valid definitions have exactly one."""
        return next(kind for kind in StepKind if getattr(self, kind.value) is not None)


class Defaults(Model):
    """What steps use when they do not say otherwise."""

    model: ModelNames | None = None
    retry: Retry | None = None
    timeout: Duration | None = None
    on_crash: Literal["retry", "fail", "ask"] | None = None


class Budget(Model):
    """Hard limits of one run with all the runs its steps start."""

    usd: Annotated[float, Field(gt=0)] | None = None
    tokens: PositiveInt | None = None
    """Input and output together, over all model calls."""
    calls: PositiveInt | None = None
    """Model calls."""
    duration: Duration | None = None
    """Of the run, without the time it waits for people or is paused."""
    on_exceeded: Literal["stop", "ask"] = "stop"
    """`ask` pauses the run until a person gives it leave to spend more."""


class Concurrency(Model):
    """How many runs of the workflow may be under way at once. At least one of `limit` and `per_key`."""

    limit: Annotated[int, Field(ge=1, le=MAX_SLOTS)] | None = None
    """Runs of the workflow at once."""
    key: Cel | None = None
    """Over `inputs`, to text, a number or true or false: puts the runs into groups between which free slots go round."""
    per_key: Annotated[int, Field(ge=1, le=MAX_SLOTS)] | None = None
    """Runs of one key at once."""
    on_limit: Literal["queue", "reject", "cancel_old", "cancel_new"] = "queue"
    """What becomes of a run that finds no slot: it waits, it is refused, the oldest run is canceled for it, or it ends canceled itself."""


class Definition(Model):
    """A workflow."""

    model_config = ConfigDict(title="Agentic Workflows definition")

    name: WorkflowName
    description: Annotated[str, Field(max_length=10_000)] = ""
    inputs: dict[InputName, dict[str, Any]] = Field(default={}, max_length=100)
    """Each input's JSON Schema; an input without `default` is required."""
    defaults: Defaults = Defaults()
    budget: Budget | None = None
    deadline: Duration | None = None
    """Of the whole run."""
    retention: Duration | None = None
    """How long a run is kept after its end; the platform's setting when absent."""
    concurrency: Concurrency | None = None
    isolation: Literal["shared", "dedicated"] = "shared"
    """`dedicated` gives each run a WorkflowActor of its own."""
    labels: dict[Annotated[str, Field(max_length=63)], Annotated[str, Field(max_length=255)]] = Field(default={}, max_length=50)
    steps: dict[StepId, Step] = Field(min_length=1, max_length=MAX_STEPS)
    finally_: dict[StepId, Step] = Field(default={}, alias="finally", max_length=100)
    """Steps that run after all others have ended, however they ended; they see `run.status` and `run.error`."""
    outputs: dict[StepId, Cel] = Field(default={}, max_length=100)
    """The run's result; without it, the outputs of the steps no other step needs, by id."""
