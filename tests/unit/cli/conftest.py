"""The command against the real HTTP API, with the platform of the local mode behind it in a thread."""

import json
import socket
import threading
from contextlib import asynccontextmanager

import pytest
import uvicorn
from typer.testing import CliRunner

from actors.cli import app
from actors.cli.exits import Exit
from runtime.api.app import build_app
from runtime.api.keys import ensure_local_key
from runtime.api.services import over
from runtime.local import LocalPlatform
from runtime.settings import Settings
from tests.unit.cli.flows import FLOWS, FUNCTIONS, ready


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    """A served platform: (home, url)."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, python_modules=[FUNCTIONS], drain_ms=1000)

    @asynccontextmanager
    async def services():
        async with LocalPlatform(settings) as local:
            await ensure_local_key(local.store.catalog, home)
            yield over(local.store, local.gateway, settings)

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build_app(services, settings), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield home, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def agentic(platform, tmp_path, monkeypatch):
    """The command on this platform; returns the result, its JSON in `.data` when it was asked for."""
    home, url = platform
    monkeypatch.setenv("AGENTIC_HOME", str(home))
    monkeypatch.setenv("AGENTIC_PYTHON_MODULES", json.dumps([FUNCTIONS]))
    monkeypatch.setenv("AGENTIC_URL", url)
    monkeypatch.delenv("AGENTIC_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    for name, text in FLOWS.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    # The key is written while the platform starts; this request is answered when it has.
    ready(url)

    def run(*args, expect=Exit.OK, stdin=None):
        done = CliRunner().invoke(app, list(args), input=stdin, catch_exceptions=False)
        assert done.exit_code == expect, done.output
        done.data = json.loads(done.stdout) if "--json" in args and done.stdout else None
        return done

    return run
