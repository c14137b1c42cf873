"""The bodies routes take. Unknown fields are errors; nothing the server decides (tenant, user, ids) can come from here."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr

from runtime.api.requests_money import BudgetBody, ResumeBody, RunBudget
from runtime.limit_settings import Count
from runtime.schedules.spec import Moment, ScheduleBody

Label = Annotated[str, Field(min_length=1, max_length=63)]
LabelValue = Annotated[str, Field(max_length=255)]
Version = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Inputs = dict[str, JsonValue]
MAX_KEY_DAYS = 3660


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class StartBody(Body):
    """A run to start."""

    inputs: Inputs = {}
    mode: Literal["live", "simulated"] | None = None
    """The server's default when absent."""
    labels: dict[Label, LabelValue] = Field(default={}, max_length=50)
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Higher runs first among those that wait for a place."""
    version: Version | None = None
    """Content hash; the current version when absent."""
    budget: RunBudget | None = None
    """What the run may spend; of these limits and the definition's, the lower ones count."""


class BatchBody(Body):
    """Runs to start, all or none."""

    runs: Annotated[list[StartBody], Field(min_length=1, max_length=1000)]


class CancelBody(Body):
    """Why a run is canceled."""

    reason: Annotated[str, Field(max_length=1000)] | None = None


class NoBody(Body):
    """Nothing to say."""


class ForkBody(Body):
    """Where a new run starts again, and with which other inputs."""

    from_step: Annotated[str, Field(max_length=100)] | None = None
    """Without it the new run starts from the beginning."""
    inputs: Inputs | None = None
    """Inputs to replace, by name."""


class SignalBody(Body):
    """A message to a waiting step."""

    payload: JsonValue = None


class DecisionBody(Body):
    """What became of an attempt whose effect is unknown."""

    step: Annotated[str, Field(max_length=100)]
    action: Literal["retry", "fail", "succeed"]
    index: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Of the map's item, when the step is a map."""
    output: JsonValue = None
    """With `succeed`: the result of the attempt."""


class DecideBody(Body):
    """A person's answer to an approval."""

    approved: bool
    form: JsonValue = None
    """Must fit the approval's form; not needed to reject."""
    comment: Annotated[str, Field(max_length=10_000)] | None = None


class KeyBody(Body):
    """An API key to make."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    scopes: Annotated[list[Literal["read", "write", "admin"]], Field(min_length=1, max_length=3)] = ["read"]
    expires_in_days: Annotated[int, Field(ge=1, le=MAX_KEY_DAYS)] | None = None


class ProviderKeyBody(Body):
    """A provider's key and the address it is for. Both are set together: what is absent is so from then on."""

    key: Annotated[SecretStr, Field(min_length=8, max_length=4096)] | None = None
    """Absent for a server that asks for none."""
    base_url: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """The provider's own address when absent. https, unless the operator lists the host."""


class ProviderLimitsBody(Body):
    """The limits of a stored provider key."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    """Of questions and answers together."""
    in_flight: Count | None = None
    """Requests that have no answer yet."""


class PauseBody(Body):
    """Why a schedule is paused."""

    note: Annotated[str, Field(max_length=1000)] | None = None


class BackfillBody(Body):
    """A range of the past whose ticks shall start after all; both ends are inside."""

    from_: Annotated[Moment, Field(alias="from")]
    to: Moment
    overlap: Literal["buffer_all", "allow_all"] = "buffer_all"
    """One after the other, or side by side."""


Event = Literal[
    "*",
    "run.started",
    "run.waiting",
    "run.succeeded",
    "run.failed",
    "run.canceled",
    "approval.requested",
    "approval.resolved",
    "step.failed",
]
Events = Annotated[list[Event], Field(min_length=1, max_length=20)]
Url = Annotated[str, Field(min_length=1, max_length=2000)]
Description = Annotated[str, Field(max_length=1000)]
WorkflowName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
WorkflowNames = Annotated[list[WorkflowName], Field(min_length=1, max_length=100)]


class EndpointBody(Body):
    """A receiver of events."""

    url: Url
    events: Events = ["*"]
    """Kinds of events; `*` for all."""
    workflows: WorkflowNames | None = None
    """Only of runs of these; of all when absent."""
    description: Description = ""


class EndpointChange(Body):
    """What to change of an endpoint; what is absent stays."""

    url: Url | None = None
    events: Events | None = None
    workflows: WorkflowNames | None = None
    """null: of all."""
    description: Description | None = None
    enabled: bool | None = None
    """What happens while an endpoint is not enabled is never sent to it."""


class HookBody(Body):
    """A hook to make."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    workflow: WorkflowName
    version: Version | None = None
    """Content hash; the version that is current when a message comes when absent."""
    verify: Literal["none", "standard", "hmac-sha256-hex"] = "standard"
    """`standard`: Standard Webhooks; `hmac-sha256-hex`: the HMAC of the body in a header, as GitHub sends it."""
    header: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")] | None = None
    """Where the HMAC stands; `X-Hub-Signature-256` when absent."""
    secret: Annotated[str, Field(min_length=16, max_length=500, pattern=r"^[\x21-\x7e]+$")] | None = None
    """Made when absent. For `standard` it begins with `whsec_`."""
    inputs: Inputs | None = None
    """The inputs of the run, with `${{ body.… }}` where parts of the message belong. When absent the message is the inputs."""
    labels: dict[Label, LabelValue] = Field(default={}, max_length=50)


BODIES: tuple[type[BaseModel], ...] = (
    BudgetBody,
    ResumeBody,
    ScheduleBody,
    PauseBody,
    BackfillBody,
    StartBody,
    BatchBody,
    CancelBody,
    NoBody,
    ForkBody,
    SignalBody,
    DecisionBody,
    DecideBody,
    KeyBody,
    ProviderKeyBody,
    ProviderLimitsBody,
    EndpointBody,
    EndpointChange,
    HookBody,
)
