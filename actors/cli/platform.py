"""`agentic up`, `down` and `status`: the platform on this machine."""

import signal
import threading
from dataclasses import asdict
from typing import Annotated, Any

import typer

from actors.cli.connection import home, load_settings, platform_state
from actors.cli.output import Json, console, fields, line, print_json


def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when the platform is ready; stop it with `agentic down`.")] = False,
    as_json: Json = False,
) -> None:
    """Start Ray, the API and the actors on this machine. Ctrl-C drains and stops them, unless detached."""
    from actors.lifecycle import start_platform, stop_platform

    settings = load_settings()
    stopping = threading.Event()
    if not detach:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
    if not as_json:
        line("starting the platform …", "dim")
    before = platform_state(settings.home).get("id")
    urls = start_platform(settings)
    ours = platform_state(settings.home).get("id") != before
    _addresses(asdict(urls), detach=detach or not ours, as_json=as_json)
    if detach or not ours:
        return
    stopping.wait()
    line("draining …", "dim")
    stop_platform(settings)
    line("stopped")


def down() -> None:
    """Drain the platform on this machine and stop it. Runs that have not ended go on at the next start."""
    settings = load_settings()
    if not platform_state(settings.home):
        line("the platform is not running")
        return
    from actors.lifecycle import stop_platform

    stop_platform(settings)
    line("stopped")


def status(*, as_json: Json = False) -> None:
    """Where the platform is and whether it is ready."""
    from actors.cli.client import api

    with api() as client:
        state = {**platform_state(home()), "api": client.connection.url}
        ready = client.call("GET", "/readyz")
    if as_json:
        print_json({**_addresses_of(state), "ready": ready})
        return
    fields((*_rows(state), ("ready", "yes")))
    _token_note()


def _token_note() -> None:
    """Ray's dashboard asks for a token; it is shown where it lies, never printed."""
    file = home() / "ray-token"
    if file.exists():
        line(f"the dashboard asks for the token in {file}", "dim")


def _addresses_of(state: dict[str, Any]) -> dict[str, str]:
    return {name: str(state[name]) for name in ("api", "docs", "dashboard") if state.get(name)}


def _rows(state: dict[str, Any]) -> list[tuple[str, str]]:
    names = {"api": "API", "docs": "API documentation", "dashboard": "Ray dashboard"}
    return [(names[name], url) for name, url in _addresses_of(state).items()]


def _addresses(state: dict[str, Any], *, detach: bool, as_json: bool) -> None:
    if as_json:
        print_json(_addresses_of(state))
        return
    fields(_rows(state))
    _token_note()
    console().print("stop it with: agentic down" if detach else "stop it with Ctrl-C", style="dim")
