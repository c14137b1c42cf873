"""A cassette: everything a run was told by the world outside, in one file that people can read and keep beside their tests."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from runtime.definition.pointers import join
from runtime.definition.types import Duration
from runtime.definition.yaml import read
from runtime.errors import DefinitionInvalid, NotFound, PayloadTooLarge, Problem

FORMAT = 1
MAX_BYTES = 64 * 2**20
"""Of a cassette's file."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Call(_Strict):
    """One model or tool call of an agent step, as the journal has it."""

    name: str
    n: int
    id: str | None = None
    asked: str | None = None
    result: JsonValue = None
    usage: dict[str, JsonValue] | None = None


class Saved(_Strict):
    """A named artifact an attempt has saved."""

    name: str
    media_type: str
    base64: str


class Attempt(_Strict):
    """One attempt: its calls, and how it ended. An attempt whose process died is joined to the next."""

    calls: list[Call] = Field(default_factory=list)
    output: JsonValue = None
    error: dict[str, JsonValue] | None = None
    saved: list[Saved] = Field(default_factory=list)


class Entry(_Strict):
    """A step, or one item of a map, with its attempts in order."""

    step: str
    """Its path: `notes`, `poll#3` in a loop, `checks[4]/ask` in the run that item 4 of `checks` has started."""
    index: int | None = None
    kind: str
    attempts: list[Attempt]


class Answered(_Strict):
    """An approval and its answer, `after` so long a time."""

    step: str
    approved: bool
    form: JsonValue = None
    comment: str | None = None
    by: str | None = None
    after: Duration = 0


class Sent(_Strict):
    """A signal, and how long a step had waited for it."""

    signal: str
    payload: JsonValue = None
    after: Duration = 0


class Run(_Strict):
    """The run that was recorded."""

    id: str
    mode: Literal["live", "simulated"]
    seed: int
    created_at: str
    status: str


class Cassette(_Strict):
    """The file."""

    cassette: Literal[1]
    """The version of the format."""
    workflow: str
    version: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """The hash of the definition that ran."""
    run: Run
    inputs: dict[str, JsonValue]
    steps: list[Entry]
    approvals: list[Answered] = Field(default_factory=list)
    signals: list[Sent] = Field(default_factory=list)
    outputs: JsonValue = None

    @property
    def created_at(self) -> int:
        """ms since the Unix epoch."""
        return round(datetime.fromisoformat(self.run.created_at).timestamp() * 1000)


def read_cassette(path: Path) -> Cassette:
    """Raises NotFound, and DefinitionInvalid with line and column of every problem."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"cannot read the cassette {path}: {error.strerror}") from error
    value, marks = read(data, MAX_BYTES)
    version = value.get("cassette") if isinstance(value, dict) else None
    if version != FORMAT:
        raise DefinitionInvalid(f"{path} is no cassette of format {FORMAT}")
    try:
        return Cassette.model_validate(value)
    except ValidationError as error:
        pointers = [(join("", *one["loc"]), one["msg"]) for one in error.errors(include_url=False, include_input=False)]
        problems = [Problem(pointer, message, *marks.value(pointer)) for pointer, message in pointers]
        raise DefinitionInvalid(f"{path}: {problems[0].pointer}: {problems[0].detail}", problems=problems) from None


def write_cassette(path: Path, cassette: Cassette) -> None:
    """Write the file, replacing one that is there. Raises PayloadTooLarge."""
    text = as_text(cassette)
    if len(data := text.encode()) > MAX_BYTES:
        raise PayloadTooLarge(f"the cassette has {len(data)} bytes; at most {MAX_BYTES} are kept")
    path.write_bytes(data)


def as_text(cassette: Cassette) -> str:
    """The file's text."""
    head = f"# A run of {cassette.workflow}, recorded at {cassette.run.created_at}. `agentic run FILE --replay` and `agentic test` run on it.\n"
    document = cassette.model_dump(mode="json", exclude_defaults=True)
    ordered = {name: document[name] for name in Cassette.model_fields if name in document}
    return head + yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=160)


_NUMBERS = frozenset("+-.0123456789~")
_WORDS = frozenset({"", "null", "true", "false"})


class _Dumper(yaml.SafeDumper):
    """YAML as the reader of this product reads it: without aliases, and with quotes around whatever looks like something else than text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is the library's
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    misread = value[:1] in _NUMBERS or value.lower() in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else '"' if misread else None)


_Dumper.add_representer(str, _text)
