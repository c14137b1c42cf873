"""The page about tools says nothing that is not so, and its example works."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from actors.environment import settings_file
from runtime.definition.validation import parse
from runtime.settings import Settings

TEXT = (Path(__file__).parents[3] / "docs" / "tools.md").read_text()
BLOCKS = re.findall(r"```(\w+)(?: (\S+))?\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("source", [source for language, name, source in BLOCKS if (language, name) == ("yaml", "")])
def test_definitions_are_valid(source):
    assert parse(source).hash


@pytest.mark.parametrize("source", [source for _, name, source in BLOCKS if name == "settings"])
def test_settings_are_valid_and_reach_the_cluster(source, tmp_path, monkeypatch):
    given = Settings(**yaml.safe_load(source), home=tmp_path)
    settings_file(given, tmp_path / "settings.yaml")
    monkeypatch.setenv("AGENTIC_CONFIG", str(tmp_path / "settings.yaml"))
    monkeypatch.delenv("AGENTIC_HOME", raising=False)
    assert Settings() == given


@pytest.mark.timeout(240)
@pytest.mark.slow
async def test_the_server_of_the_page_serves(tools, tmp_path):
    [(name, source)] = [(name, source) for language, name, source in BLOCKS if language == "python"]
    (tmp_path / name).write_text(source)
    found = await tools([{"mcp": "numbers", "tools": ["add"]}], mcp_servers={"numbers": {"command": [sys.executable, name], "folder": str(tmp_path)}})
    assert await found["numbers_add"].invoke({"a": 2, "b": 40}, "call") == {"result": 42}


def test_limits_are_those_of_the_code():
    from runtime.definition import foreign, openapi
    from runtime.toolsets import apis, connection, documents, toolsets, transport

    row = {line.split(" | ")[0].strip("| "): line for line in TEXT.splitlines() if line.startswith("| ")}
    assert f"{documents.MAX_DOCUMENT >> 20} MiB" in row["an OpenAPI document"]
    assert f"{documents.FETCH_SECONDS:.0f} s" in row["an OpenAPI document"]
    for limit in (f"{foreign.MAX_BYTES >> 10} KiB", f"{foreign.MAX_DEPTH} levels", f"{foreign.MAX_NODES:,} schemas"):
        assert limit in row["a tool's parameters"]
    assert f"{openapi.MAX_DESCRIPTION:,} characters" in row["a description"]
    tools_row = row["tools of one entry, of one server, of one agent"]
    assert f"{openapi.MAX_OPERATIONS} operations; {connection.MAX_TOOLS}; {toolsets.MAX_OFFERS} and {toolsets.MAX_BYTES >> 20} MiB" in tools_row
    assert f"{apis.MAX_ANSWER >> 20} MiB of an API, {transport.MAX_ANSWER >> 20} MiB of an MCP server" in row["an answer"]
