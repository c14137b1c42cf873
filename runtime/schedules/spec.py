"""What a user writes about a schedule: the model, and every problem of a document at once."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, PlainSerializer, ValidationError, WithJsonSchema
from pydantic_core import to_json

from runtime.clock import rfc3339
from runtime.definition.names import did_you_mean
from runtime.definition.pointers import join
from runtime.definition.types import Duration, InputName, WorkflowName
from runtime.definition.validation import content_hash
from runtime.errors import Problem
from runtime.schedules.cron import check_cron, explain
from runtime.schedules.overlap import Overlap
from runtime.schedules.ticks import Timing
from runtime.schedules.zones import check_zone

MIN_INTERVAL_MS = 1000
MAX_JITTER_MS = 86_400_000
DEFAULT_CATCHUP_MS = 600_000
"""Ten minutes: longer than a restart, an upgrade or a database's fail-over, so that none of them costs a tick; shorter than a night, so
that nobody comes back to hundreds of paid runs at once."""
_NAME = re.compile(r"(?=.{1,63}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LATEST_MS = 7_258_118_400_000
"""The year 2200."""


def parse_moment(value: Any) -> int:
    """Milliseconds of an RFC 3339 time with its offset, between 1970 and 2200. Raises ValueError."""
    wrong = "write a time with its offset, such as 2026-01-31T12:00:00Z"
    if not isinstance(value, str) or len(value) > 40:
        raise ValueError(wrong)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(wrong) from None
    if moment.tzinfo is None:
        raise ValueError(f"{wrong}; without the offset it is not clear when that is")
    try:
        ms = round(moment.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        ms = -1
    if not 0 <= ms <= _LATEST_MS:
        raise ValueError("a time between 1970 and 2200")
    return ms


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _interval(value: int | None) -> int | None:
    if value is not None and value < MIN_INTERVAL_MS:
        raise ValueError("an interval is at least 1s")
    return value


def _jitter(value: int) -> int:
    if value > MAX_JITTER_MS:
        raise ValueError("jitter is at most 1d")
    return value


def _overlap(value: Any) -> Overlap:
    if not isinstance(value, str) or value not in set(Overlap):
        raise ValueError(f"write one of {', '.join(Overlap)}{did_you_mean(str(value), Overlap)}")
    return Overlap(value)


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("a schedule's name is lower case letters, digits and single hyphens, at most 63 characters, such as every-morning")
    return value


ScheduleName = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": "^[a-z][a-z0-9]*(-[a-z0-9]+)*$", "maxLength": 63})]
Moment = Annotated[int, BeforeValidator(parse_moment), PlainSerializer(rfc3339, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})]
Cron = Annotated[str, AfterValidator(check_cron)]
Crons = Annotated[
    list[Cron],
    BeforeValidator(_one_or_many),
    Field(max_length=20),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 20}], "examples": ["0 9 * * MON-FRI"]}),
]


class ScheduleSpec(BaseModel):
    """A schedule: which workflow it starts, when, and with what."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)

    name: ScheduleName | None = None
    """What the schedule is called; spelled as names of workflows are."""
    workflow: WorkflowName
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Content hash of a version to stay with; the newest at each tick when absent."""
    cron: Crons = []
    """One cron expression or several, of 5 fields, or 6 with seconds first; also `@daily` and its like."""
    interval: Annotated[Duration | None, AfterValidator(_interval)] = None
    """Real time between two ticks, counted from `start_at`, or from the Unix epoch; at least 1s."""
    timezone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    """The IANA time zone cron expressions are read in."""
    start_at: Moment | None = None
    """No tick before this time."""
    end_at: Moment | None = None
    """No tick after this time."""
    jitter: Annotated[Duration, AfterValidator(_jitter)] = 0
    """Each tick starts later by a part of this that its time decides; never as late as the next tick."""
    catchup: Duration = DEFAULT_CATCHUP_MS
    """How late a tick may still start after down time; older ones are recorded as missed."""
    overlap: Annotated[Overlap, BeforeValidator(_overlap)] = Overlap.SKIP
    """What a tick does while a run of this schedule has not ended."""
    inputs: dict[str, JsonValue] = {}
    tick_input: InputName | None = None
    """The input that receives the time of the tick, as RFC 3339 text."""
    labels: Annotated[dict[Annotated[str, Field(min_length=1, max_length=63)], Annotated[str, Field(max_length=255)]], Field(max_length=50)] = {}
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    mode: Literal["live", "simulated"] | None = None
    """The server's default when absent."""

    @property
    def timing(self) -> Timing:
        """What decides about ticks."""
        return Timing(tuple(self.cron), self.interval, self.timezone, self.start_at, self.end_at, self.jitter)

    @property
    def document(self) -> dict[str, Any]:
        """Canonical JSON: what is stored and hashed."""
        return self.model_dump(mode="json", include=_STORED)

    @property
    def explained(self) -> list[str]:
        """Each rule in English."""
        every = [f"Every {self.model_dump(mode='json')['interval']}"] if self.interval is not None else []
        return [explain(expression) for expression in self.cron] + every


_STORED = set(ScheduleSpec.model_fields) - {"name"}


class ScheduleBody(ScheduleSpec):
    """A schedule to put, and whether it is paused."""

    paused: bool | None = None
    """Absent: a new schedule is not paused, one that is there stays as it is."""
    note: Annotated[str, Field(max_length=1000)] | None = None
    """Why it is paused."""


def read_body(document: Any) -> tuple[ScheduleBody | None, list[Problem]]:
    """The schedule in a document, or everything that is wrong with its own words."""
    problems: list[Problem] = []
    body = None
    try:
        body = ScheduleBody.model_validate(document)
    except ValidationError as error:
        problems = [_problem(each) for each in error.errors()[:100]]
    if isinstance(document, dict) and not document.get("cron") and document.get("interval") is None:
        problems.append(Problem("/cron", "say when: one or several cron expressions, an interval, or both"))
    if body is not None and body.start_at is not None and body.end_at is not None and body.end_at < body.start_at:
        problems.append(Problem("/end_at", "the end is before the start"))
    if body is not None and body.tick_input is not None and body.tick_input in body.inputs:
        problems.append(Problem(join("/inputs", body.tick_input), "`tick_input` already fills this input with the time of the tick"))
    return body, problems


def spec_hash(spec: ScheduleSpec) -> str:
    """The ETag: a hash of everything `document` holds."""
    return content_hash(spec.document)


def load_spec(document: dict[str, Any]) -> ScheduleSpec:
    """A stored document. Raises ValueError when this machine no longer understands it, such as a time zone that is gone."""
    return _load(to_json(document))


@lru_cache(maxsize=4096)
def _load(data: bytes) -> ScheduleSpec:
    return ScheduleSpec.model_validate_json(data)


def _problem(error: Any) -> Problem:
    """A pydantic error as one sentence with a pointer."""
    pointer = join("", *(part for part in error["loc"] if part != "[key]"))
    said = {"extra_forbidden": "unknown field", "missing": "this is missing", "model_type": "a schedule is an object"}
    return Problem(pointer, said.get(error["type"]) or str(error["msg"]).removeprefix("Value error, "))
