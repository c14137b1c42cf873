"""`agentic tools list`, over a real API and a real MCP server."""

import asyncio
import json

import pytest
import yaml
from typer.testing import CliRunner

from actors.cli import app
from actors.cli.exits import Exit
from tests.support.api_server import DOCUMENT
from tests.support.mcp_server import mcp_server

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENTIC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AGENTIC_CONFIG", str(tmp_path / "settings.yaml"))
    (tmp_path / "pets.json").write_text(json.dumps(DOCUMENT))

    def run(*args, **settings):
        (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"outbound_allow": ["127.0.0.1"], **settings}))
        return CliRunner().invoke(app, ["tools", "list", *args])

    return run


async def test_what_there_is(command, tmp_path):
    async with mcp_server() as server:
        apis = {"pets": {"document": str(tmp_path / "pets.json"), "base_url": "https://pets.example"}}
        mcp = {"test": {"url": server.url}}
        result = await asyncio.to_thread(command, "--json", apis=apis, mcp_servers=mcp)
        assert result.exit_code == 0
        functions, pets, test = json.loads(result.output)
        assert functions["kind"] == "functions"
        assert {tool["name"]: tool["original"] for tool in pets["tools"]}["pets_DELETE__pets__id_"] == "DELETE /pets/{id}"
        assert "test_add" in {tool["name"] for tool in test["tools"]}
        assert test["pinned"] == "not pinned"
        accepted = test["tools_sha256"]
        text = (await asyncio.to_thread(command, "test", apis=apis, mcp_servers={"test": {"url": server.url, "tools_sha256": accepted}})).output
        assert f"tools_sha256: {accepted} (as accepted)" in text
        assert "Add two numbers." in text
        assert "pets" not in text
        text = (await asyncio.to_thread(command, "test", mcp_servers={"test": {"url": server.url, "tools_sha256": "0" * 64}})).output
        assert f"{accepted} (CHANGED since it was accepted)" in text


def test_a_source_that_does_not_answer(command):
    result = command(apis={"pets": {"document": "nowhere.json", "base_url": "https://pets.example"}})
    assert result.exit_code == Exit.FAILED
    assert "cannot be read" in result.output
    assert command("other").exit_code == Exit.NOT_FOUND
