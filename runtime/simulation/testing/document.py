"""What a test file may say."""

from collections import deque
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, SkipValidation

from runtime.definition.types import Duration
from runtime.engine.states import RunStatus
from runtime.simulation.answers import Answers
from runtime.simulation.people import Decision, Sending

DEFAULT_START = 1_767_258_000_000
"""2026-01-01T09:00:00Z: the same for every test that does not say, so that texts with dates are the same too."""
MAX_CASES = 1_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True)


def _moment(value: Any) -> int:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError("write a time such as 2026-01-31T09:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("a time needs its offset, such as 2026-01-31T09:00:00Z")
    return round(moment.timestamp() * 1000)


class _Decision(_Strict):
    approved: bool
    form: JsonValue = None
    comment: str | None = None
    by: str | None = None
    after: Duration = 0


class _Signal(_Strict):
    signal: str
    payload: JsonValue = None
    after: Duration = 0


def _decisions(value: Any) -> deque[Decision]:
    words = {"approve": {"approved": True}, "reject": {"approved": False}}
    entries = value if isinstance(value, list) else [value]
    plain = [words.get(entry, entry) if isinstance(entry, str) else entry for entry in entries]
    if not all(isinstance(entry, dict) for entry in plain):
        raise ValueError("write approve, reject, or {approved: true, form, comment, by, after}")
    checked = [_Decision.model_validate(entry) for entry in plain]
    return deque(Decision(one.approved, one.form, one.comment, one.by, one.after) for one in checked)


def _calls(value: Any) -> Any:
    counts = value.values() if isinstance(value, dict) else [value]
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        raise ValueError("write how many calls, or {model: 2, <tool>: 1}")
    return value


def _error(value: Any) -> Any:
    return {"code": value} if isinstance(value, str) else value


Scripted = Annotated[SkipValidation[Answers], BeforeValidator(Answers.of)]


class ExpectedError(_Strict):
    """How a failed run failed."""

    code: str
    step: str | None = None
    message: str | None = None
    """A part of the message."""


class Expect(_Strict):
    """What must be so once the run has ended. A test that does not say anything else wants it to succeed."""

    status: Literal["succeeded", "failed", "canceled"] | None = None
    outputs: dict[str, JsonValue] = Field(default_factory=dict)
    """Outputs by name; those that are not named may be anything."""
    that: list[str] = Field(default_factory=list)
    """CEL conditions over `inputs`, `steps`, `run` and `outputs`."""
    ran: list[str] = Field(default_factory=list)
    """Steps that succeeded or failed."""
    skipped: list[str] = Field(default_factory=list)
    """Steps that never began."""
    calls: dict[str, Annotated[Any, BeforeValidator(_calls)]] = Field(default_factory=dict)
    """How many model calls an agent step made, or by name; how many attempts any other step took."""
    error: Annotated[ExpectedError, BeforeValidator(_error)] | None = None
    match: JsonValue = None
    """A JSON Schema of the outputs."""
    took: Duration | None = None
    """Virtual time from the start of the run to its end."""

    @property
    def wanted(self) -> RunStatus:
        return RunStatus(self.status or ("failed" if self.error else "succeeded"))


class Case(_Strict):
    """One test: a run, what it meets, and how it must end."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    inputs: dict[str, JsonValue] = Field(default_factory=dict)
    mode: Literal["simulated", "replay"] = "simulated"
    cassette: str | None = None
    """Of a replay, relative to the test file."""
    recorded_python: bool = False
    """Whether a replay takes the results of python steps from the cassette, too."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    start: Annotated[int, BeforeValidator(_moment)] = DEFAULT_START
    model: dict[str, Scripted] = Field(default_factory=dict)
    tools: dict[str, Scripted] = Field(default_factory=dict)
    http: dict[str, Scripted] = Field(default_factory=dict)
    python: dict[str, Scripted] = Field(default_factory=dict)
    approvals: dict[str, Annotated[SkipValidation[deque[Decision]], BeforeValidator(_decisions)]] = Field(default_factory=dict)
    signals: list[_Signal] = Field(default_factory=list)
    expect: Expect = Field(default_factory=Expect)

    def sendings(self) -> dict[str, deque[Sending]]:
        """The signals by name."""
        found: dict[str, deque[Sending]] = {}
        for one in self.signals:
            found.setdefault(one.signal, deque()).append(Sending(one.payload, one.after))
        return found


class Document(_Strict):
    """A test file: the workflow, other workflows its steps start, and the tests."""

    workflow: str
    others: Annotated[list[str], Field(alias="with")] = Field(default_factory=list)
    tests: Annotated[list[Case], Field(min_length=1, max_length=MAX_CASES)]
