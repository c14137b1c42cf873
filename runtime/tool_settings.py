"""The part of the settings that says where tools come from: HTTP APIs and MCP servers, by name. The operator's alone: no definition adds to it."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from runtime.redaction import redact

SOURCE_NAME = r"[a-z][a-z0-9_-]{0,31}"
"""How APIs and MCP servers are called: their names begin the names of their tools."""
MAX_SECRET = 16 * 1024
"""Characters of a secret."""

_URL = TypeAdapter(AnyHttpUrl)


class SecretMissing(ValueError):
    """The place a secret is read from does not hold one."""


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SecretPlace(Part):
    """Where a secret is read from, in the process that needs it and when it needs it. Exactly one of the two."""

    file: Path | None = None
    """The text of this file, without white space around it."""
    env: str | None = None
    """The value of this environment variable."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("a secret is read from exactly one of file and env")
        return self

    def read(self) -> str:
        """The secret. Raises SecretMissing."""
        try:
            found = self.file.read_text("utf-8").strip() if self.file is not None else os.environ.get(self.env or "", "")
        except (OSError, UnicodeError) as error:
            raise SecretMissing(f"{self.file} cannot be read: {type(error).__name__}") from None
        if not found or len(found) > MAX_SECRET or not found.isprintable() or not found.isascii():
            raise SecretMissing(f"{self.file or self.env} holds no secret of up to {MAX_SECRET} printable characters")
        redact.know(found)
        return found


class ApiCredential(SecretPlace):
    """What is sent along with every call of an API, and to nobody else."""

    place: Literal["header", "query"] = "header"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")] = "Authorization"
    """Of the header or of the query parameter."""
    scheme: str = "Bearer"
    """What stands before the secret in a header; nothing when empty."""


class Api(Part):
    """An HTTP API whose operations agents may use as tools."""

    document: str
    """Its OpenAPI 3.0 or 3.1 document, JSON or YAML: the path of a file, or a URL."""
    base_url: str | None = None
    """Where calls go; the document's first server when absent. Needed with a credential: it goes where the operator says, not where a document says."""
    credential: ApiCredential | None = None
    operations: list[str] = []
    """What agents may use; everything when empty."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds of one call."""

    @field_validator("base_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        return None if value is None else _checked(value).rstrip("/")

    @model_validator(mode="after")
    def _bound(self) -> Self:
        if self.credential is not None and self.base_url is None:
            raise ValueError("a credential needs base_url, the one address it is sent to")
        return self


class McpServer(Part):
    """An MCP server: at `url` (streamable HTTP), or a program of this machine that `command` starts (stdio)."""

    url: str | None = None
    token: SecretPlace | None = None
    """Sent as `Authorization: Bearer` to the server's own address."""
    command: Annotated[list[str], Field(min_length=1)] | None = None
    """The program and its arguments. It sees PATH, HOME and the like, and `env`: nothing else of our environment."""
    env: dict[str, str | SecretPlace] = {}
    folder: Path | None = None
    """Where the program runs."""
    tools: list[str] = []
    """What agents may use, by the server's own names; everything when empty."""
    tools_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """What `agentic tools list` printed when a person looked at the tools. Another list of tools is refused; not looked at when absent."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds of one call."""

    @field_validator("url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        return None if value is None else _checked(value)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError("an MCP server has exactly one of url and command")
        if self.url is None and self.token is not None:
            raise ValueError("a token goes to a url; give a program its secrets in env")
        if self.command is None and (self.env or self.folder):
            raise ValueError("env and folder belong to command")
        return self


def _checked(url: str) -> str:
    found = _URL.validate_python(url)
    if found.username or found.password or found.fragment or found.query:
        raise ValueError("write the URL without credentials, query and fragment")
    return url
