"""The bodies routes take. Unknown fields are errors; nothing the server decides (tenant, user, ids) can come from here."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

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


class PauseBody(Body):
    """Why a schedule is paused."""

    note: Annotated[str, Field(max_length=1000)] | None = None


class BackfillBody(Body):
    """A range of the past whose ticks shall start after all; both ends are inside."""

    from_: Annotated[Moment, Field(alias="from")]
    to: Moment
    overlap: Literal["buffer_all", "allow_all"] = "buffer_all"
    """One after the other, or side by side."""


BODIES: tuple[type[BaseModel], ...] = (
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
)
