"""Starting and stopping the platform on this machine, safely: twice, after a crash, and beside other Ray clusters."""

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from actors.cluster import PlatformFailed, end_processes, processes, ray_start, run
from actors.environment import Files, Ports, cluster_environment, settings_file, write_private
from actors.ports import choose_ports, is_free
from runtime.api.keys import ensure_local_key
from runtime.clock import SystemClock
from runtime.ids import uuid7
from runtime.settings import Settings
from runtime.store.open import open_store
from runtime.store.sealed import checked_box

READY_SECONDS = 60
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a person finds the platform."""

    api: str
    docs: str
    dashboard: str


def start_platform(settings: Settings, *, cores: int | None = None) -> Urls:
    """Start Ray, the actors and the API; returns when `/readyz` answers 200. A platform that already runs is left as it is.

    `cores`: what Ray believes this machine has. Raises PlatformFailed, StoreUnavailable, SchemaMismatch, SecretUnreadable.
    """
    home = settings.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    known = _state(home)
    if known and processes(_files(home, known)):
        if _is_ready(known["api"]):
            return Urls(known["api"], known["docs"], known["dashboard"])
        end_processes(_files(home, known))
    if not is_free(settings.api_port):
        raise PlatformFailed(f"port {settings.api_port} is taken by another program; set API_PORT to a free one")
    _forget(home, known)
    asyncio.run(_prepare_database(settings))
    return _start(settings, home, cores)


def stop_platform(settings: Settings) -> None:
    """Drain and stop the platform of `settings.home`; nothing else on this machine is touched. Runs that have not ended are kept."""
    home = settings.home.absolute()
    state = _state(home)
    if not state:
        return
    files = _files(home, state)
    try:
        if processes(files):
            environment = cluster_environment(settings, files, Ports(**state["ports"]))
            run([sys.executable, "-m", "actors.bootstrap", "down"], environment, _log(home), settings.drain_ms / 1000 * 2 + 90)
    finally:
        end_processes(files)
        _forget(home, state)


def platform_files(settings: Settings) -> Files:
    """The files of the platform that `settings.home` says was started. Raises KeyError when none was."""
    home = settings.home.absolute()
    return _files(home, _state(home))


def _start(settings: Settings, home: Path, cores: int | None) -> Urls:
    # The paths of sockets are limited to about 100 characters, of which Ray and HAProxy take 80: so not below `home`.
    folder = Path(tempfile.mkdtemp(prefix="agw-", dir="/tmp"))
    (folder / "h").mkdir()
    ports = choose_ports()
    host = "127.0.0.1" if settings.api_host in {"0.0.0.0", "::"} else settings.api_host  # noqa: S104 - compared, not bound
    api = f"http://{host}:{settings.api_port}"
    urls = Urls(api, f"{api}/docs", f"http://127.0.0.1:{ports.dashboard}")
    state = {**asdict(urls), "id": uuid7(), "folder": str(folder), "ports": asdict(ports)}
    files = _files(home, state)
    settings_file(settings, files.config)
    if not files.token.exists():
        write_private(files.token, secrets.token_hex(32))
    environment = cluster_environment(settings, files, ports)
    # Before the first process: whatever happens from here on, `down` finds all of them.
    write_private(home / "platform.json", json.dumps(state, indent=1))
    log = _log(home)
    log.write_bytes(b"")
    try:
        ray_start(environment, ports, folder, log, cores=cores)
        run([sys.executable, "-m", "actors.bootstrap", "up"], environment, log, READY_SECONDS + 60)
        _wait_until_ready(api, log)
    except BaseException:
        end_processes(files)
        # What Ray's processes wrote says why; the sockets beside it are of no use any more.
        shutil.copytree(folder, log.parent / "ray", ignore=_not_logs, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        _forget(home, state)
        raise
    return urls


def _files(home: Path, state: dict[str, Any]) -> Files:
    return Files(state["id"], home / "platform-settings.yaml", home / "ray-token", Path(state["folder"]))


async def _prepare_database(settings: Settings) -> None:
    """The schema and the first keys, before anything else may look for them. Raises SecretUnreadable; no row was changed then."""
    store = await open_store(settings.database, durability=settings.durability)
    try:
        await checked_box(store, settings, SystemClock().now())
        await ensure_local_key(store.catalog, settings.home.absolute())
    finally:
        await store.close()


def _wait_until_ready(api: str, log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while not _is_ready(api):
        if time.monotonic() > until:
            raise PlatformFailed(f"the API did not become ready within {READY_SECONDS} s; see {log}")
        time.sleep(POLL_SECONDS)


def _is_ready(api: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api}/readyz", timeout=5) as answer:  # noqa: S310 - our own http address
            return answer.status == 200  # type: ignore[no-any-return]  # typeshed leaves it open
    except (urllib.error.URLError, OSError):
        return False


def _state(home: Path) -> dict[str, Any]:
    path = home / "platform.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _forget(home: Path, state: dict[str, Any]) -> None:
    (home / "platform.json").unlink(missing_ok=True)
    if state:
        shutil.rmtree(state["folder"], ignore_errors=True)


def _not_logs(folder: str, names: list[str]) -> set[str]:
    """For copytree: everything but folders and text."""
    return {name for name in names if not (Path(folder) / name).is_dir() and Path(name).suffix not in {".log", ".out", ".err"}}


def _log(home: Path) -> Path:
    folder = home / "logs"
    folder.mkdir(exist_ok=True)
    return folder / "platform.log"


def attached_environment(settings: Settings) -> dict[str, str]:
    """The environment in which a program joins the running platform of `settings.home` as a Ray driver. Raises PlatformFailed."""
    home = settings.home.absolute()
    state = _state(home)
    if not state:
        raise PlatformFailed(f"no platform runs in {home}")
    return cluster_environment(settings, _files(home, state), Ports(**state["ports"]))
