"""Where the platform is and with which key to speak to it."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from actors.cli.exits import CommandError, Exit

if TYPE_CHECKING:
    from runtime.settings import Settings

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Connection:
    """The base URL without a slash at its end, and the API key if there is one."""

    url: str
    key: str | None = field(repr=False)

    @property
    def local(self) -> bool:
        """Whether the platform is on this machine."""
        return urlsplit(self.url).hostname in {"127.0.0.1", "localhost", "::1"}


def load_settings() -> "Settings":
    """The settings of this environment. Raises CommandError with every problem they have."""
    from pydantic import ValidationError

    from runtime.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        details = [f"{'.'.join(str(part) for part in entry['loc'])}: {entry['msg']}" for entry in error.errors(include_input=False)]
        raise CommandError("the settings are not valid", Exit.USAGE, details=details) from None


def home() -> Path:
    """The folder of the local platform: its key, state file and database."""
    return load_settings().home


def platform_state(folder: Path) -> dict[str, Any]:
    """What `agentic up` wrote about the platform it started; empty when it did not."""
    try:
        state = json.loads((folder / "platform.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError:
        raise CommandError(f"{folder / 'platform.json'} is damaged; remove it and run `agentic up` again", Exit.USAGE) from None
    return state if isinstance(state, dict) else {}


def connect() -> Connection:
    """Resolve URL and key. The key that `agentic up` made is only ever sent to this machine."""
    folder = home()
    url = os.environ.get("AGENTIC_URL") or str(platform_state(folder).get("api") or DEFAULT_URL)
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise CommandError(f"AGENTIC_URL is not an http or https address: {url}", Exit.USAGE)
    connection = Connection(url.rstrip("/"), os.environ.get("AGENTIC_API_KEY"))
    if connection.key is None and connection.local:
        return Connection(connection.url, _key_file(folder))
    return connection


def _key_file(folder: Path) -> str | None:
    try:
        return (folder / "api-key").read_text().strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
