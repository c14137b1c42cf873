"""MCP servers in processes of their own: both versions of the protocol, restarts, and servers that mean harm."""

import asyncio
import json
import os
import sys

import pytest

from runtime.agents.tools import ToolRefused
from runtime.definition.validation import parse
from runtime.errors import DefinitionInvalid, StepFailed
from runtime.settings import Settings
from runtime.toolsets.servers import tools_sha256
from tests.support.mcp_server import ROOT, McpProcess, free_port, mcp_server

pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]
ENTRY = [{"mcp": "test"}]
NAMES = {"test_add", "test_whoami", "test_fail", "test_huge", "test_slow", "test_odd_name__rm_-rf_____x____"}


@pytest.fixture(scope="module", params=["2026-07-28", "2025-11-25"])
def server(request):
    """One process for all tests of a version."""
    running = McpProcess(free_port(), ("--legacy",) if request.param == "2025-11-25" else ())
    asyncio.run(running.start())
    running.version = request.param
    yield running
    running.kill()


def settings(server: McpProcess, **more):
    return {"mcp_servers": {"test": {"url": server.url, **more}}}


class TestBothVersions:
    async def test_tools_are_named_after_their_server_and_called(self, server, tools, tmp_path):
        token = tmp_path / "token"
        token.write_text("the-token")
        found = await tools(ENTRY, **settings(server, token={"file": str(token)}))
        assert set(found) == NAMES
        assert found["test_whoami"].description == "Say who you are."  # without what nobody can see
        assert await found["test_add"].invoke({"a": 1, "b": 2}, "m") == {"result": 3}
        assert await found["test_odd_name__rm_-rf_____x____"].invoke({}, "m") == {"result": "odd"}
        counts = await server.counts()
        assert set(counts["versions"]) == {server.version}
        assert set(filter(None, counts["authorization"])) == {"Bearer the-token"}

    async def test_the_key_of_a_call_goes_along(self, server, tools):
        for _ in range(2):
            found = await tools(ENTRY, **settings(server))
            await found["test_add"].invoke({"a": 5, "b": 5}, "mark")
        keys = (await server.counts())["keys"][-2:]
        assert keys[0] == keys[1]
        assert len(keys[0]) == 26

    async def test_the_model_is_told_of_failures(self, server, tools):
        found = await tools(ENTRY, **settings(server))
        with pytest.raises(ToolRefused, match="fail"):
            await found["test_fail"].invoke({"why": "so"}, "m")
        with pytest.raises(ToolRefused):
            await found["test_add"].invoke({"a": "no number"}, "m")

    async def test_huge_results_do_not_end_the_session_of_others(self, server, tools, open_toolsets):
        toolsets = open_toolsets(**settings(server))
        found = await tools(ENTRY, toolsets=toolsets)
        opened = toolsets.shared.servers.named("test")._connection
        before = (await server.counts()).get("slow", 0)
        other = asyncio.create_task(found["test_slow"].invoke({}, "m"))
        await server.until("slow", before + 1)
        with pytest.raises(ToolRefused, match="refuses"):
            await found["test_huge"].invoke({"size": 5 * 2**20}, "m")
        assert await found["test_add"].invoke({"a": 1, "b": 1}, "m") == {"result": 2}
        assert toolsets.shared.servers.named("test")._connection is opened
        assert not other.done()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)

    async def test_a_canceled_call_is_canceled_at_the_server(self, server, tools):
        found = await tools(ENTRY, **settings(server))
        before = await server.counts()
        call = asyncio.create_task(found["test_slow"].invoke({}, "m"))
        await server.until("slow", before.get("slow", 0) + 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.until("canceled", before.get("canceled", 0) + 1)

    async def test_a_slow_call_times_out(self, server, tools):
        found = await tools(ENTRY, **settings(server, timeout=0.3))
        with pytest.raises(StepFailed) as caught:
            await found["test_slow"].invoke({}, "m")
        assert (caught.value.error_code, caught.value.retryable) == ("timeout", True)

    async def test_what_may_be_used(self, server, tools):
        found = await tools([{"mcp": "test", "tools": ["add"]}], **settings(server, tools=["add", "fail"]))
        assert set(found) == {"test_add"}
        assert set(await tools(ENTRY, **settings(server, tools=["add", "fail"]))) == {"test_add", "test_fail"}
        with pytest.raises(StepFailed, match="has no tool 'whoami'; it has: add, fail") as caught:
            await tools([{"mcp": "test", "tools": ["whoami"]}], **settings(server, tools=["add", "fail"]))
        assert caught.value.error_code == "tool_not_found"

    async def test_a_session_is_opened_once_for_many(self, server, tools, open_toolsets):
        before = (await server.counts())["listed"]
        toolsets = open_toolsets(**settings(server))
        await asyncio.gather(*(tools(ENTRY, toolsets=toolsets) for _ in range(5)))
        assert (await server.counts())["listed"] == before + 1


@pytest.mark.parametrize("legacy", [False, True])
async def test_a_restart_in_the_middle_is_survived(tools, open_toolsets, legacy):
    async with mcp_server(legacy=legacy) as server:
        toolsets = open_toolsets(**settings(server))
        found = await tools(ENTRY, toolsets=toolsets)
        assert await found["test_add"].invoke({"a": 1, "b": 1}, "m") == {"result": 2}
        server.kill()
        with pytest.raises(StepFailed, match="cannot be reached") as caught:
            await found["test_add"].invoke({"a": 1, "b": 1}, "m")
        assert (caught.value.error_code, caught.value.retryable) == ("tool_unavailable", True)
        await server.start()
        assert await found["test_add"].invoke({"a": 2, "b": 2}, "m") == {"result": 4}
        assert (await server.counts())["add"] == 1
        # A call the server may have carried out already is not sent again behind the engine's back.
        call = asyncio.create_task(found["test_slow"].invoke({}, "m"))
        await server.until("slow", 1)
        server.kill()
        with pytest.raises(StepFailed) as caught:
            await call
        assert (caught.value.error_code, caught.value.retryable) == ("tool_unavailable", True)


async def test_tools_that_have_changed_are_refused_until_a_person_accepts_them(tools, open_toolsets):
    async with mcp_server() as server:
        before = open_toolsets(**settings(server))
        accepted = tools_sha256(await before.shared.servers.named("test").tools(before.shared.network))
        pinned = open_toolsets(**settings(server, tools_sha256=accepted))
        found = await tools(ENTRY, toolsets=pinned)
        server.kill()
        await server.start("--poison")
        # Neither those who know the tools from before, nor those who ask anew.
        await pinned.shared.servers.named("test")._connection.close()
        for attempt in (found["test_add"].invoke({"a": 1, "b": 1}, "m"), tools(ENTRY, **settings(server, tools_sha256=accepted))):
            with pytest.raises(StepFailed, match=r"not those the operator has accepted \(tools_sha256\)") as caught:
                await attempt
            assert (caught.value.error_code, caught.value.retryable) == ("tools_changed", False)
        assert "add" not in await server.counts()
        changed = open_toolsets(**settings(server))
        again = tools_sha256(await changed.shared.servers.named("test").tools(changed.shared.network))
        assert again != accepted
        assert "test_add" in await tools(ENTRY, **settings(server, tools_sha256=again))


async def test_schemas_that_are_bombs_are_left_out(tools):
    async with mcp_server("--hostile") as server:
        found = await tools(ENTRY, **settings(server))
        assert set(found) == NAMES | {"test_recursive"}
        assert found["test_recursive"].parameters == {"type": "object", "properties": {"x": {}}}
        with pytest.raises(StepFailed, match="unfold to more than 5000") as caught:
            await tools([{"mcp": "test", "tools": ["bomb"]}], **settings(server))
        assert caught.value.error_code == "tool_invalid"


async def test_redirects_lead_nowhere(tools):
    async with mcp_server() as inside, mcp_server("--redirect", inside.url) as server:
        with pytest.raises(StepFailed, match="edirect") as caught:
            await tools(ENTRY, **settings(server))
        assert caught.value.error_code == "tool_unavailable"
        assert "listed" not in await inside.counts()
        assert (await inside.counts())["authorization"] == []


async def test_addresses_of_the_inside_are_refused(tools):
    async with mcp_server() as server:
        for url, code in ((server.url, "url_invalid"), (f"https://127.0.0.1:{server.port}/mcp", "tool_unavailable")):
            with pytest.raises(StepFailed) as caught:
                await tools(ENTRY, outbound_allow=[], mcp_servers={"test": {"url": url}})
            assert (caught.value.error_code, caught.value.retryable) == (code, False)
        assert (await server.counts())["authorization"] == []


async def test_a_name_nobody_has_registered(tools):
    with pytest.raises(StepFailed, match="there is no MCP server 'test' here; there is: none"):
        await tools(ENTRY)


# --- programs the operator's configuration starts --------------------------------------------------------------------


def program(*flags, **more):
    return {"mcp_servers": {"test": {"command": [sys.executable, "-m", "tests.support.mcp_server", "stdio", *flags], "folder": str(ROOT), **more}}}


async def test_a_program_of_the_operator(tools, open_toolsets, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY_OF_OURS", "not for programs")
    secret = tmp_path / "secret"
    secret.write_text("value")
    toolsets = open_toolsets(**program(env={"SEEN": "x", "SEEN_SECRET": {"file": str(secret)}}))
    found = await tools(ENTRY, toolsets=toolsets)
    said = (await found["test_whoami"].invoke({}, "m"))["result"]
    assert said.endswith("sees ['SEEN', 'SEEN_SECRET']")
    pid = int(said.split()[1])
    # It dies, and is started again when it is next needed.
    os.kill(pid, 9)
    while toolsets.shared.servers.named("test")._connection.alive:  # noqa: ASYNC110 - another process has no event for it
        await asyncio.sleep(0.01)
    again = (await found["test_whoami"].invoke({}, "m"))["result"]
    assert int(again.split()[1]) != pid
    await toolsets.shared.close()
    assert not _alive(int(again.split()[1]))


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("entry", [{"command": ["touch", "{file}"]}, {"mcp": "test", "command": ["touch", "{file}"]}, {"mcp": "touch {file}"}], ids=str)
async def test_no_definition_starts_a_program(entry, tmp_path):
    """Whoever may write definitions may not thereby run programs: refused when published, and no process was started."""
    file = tmp_path / "started"
    entry = json.loads(json.dumps(entry).replace("{file}", str(file)))
    started = []
    loop = asyncio.get_running_loop()
    original, loop.subprocess_exec = loop.subprocess_exec, lambda *args, **kwargs: started.append(args)
    try:
        with pytest.raises(DefinitionInvalid):
            parse({"name": "a", "steps": {"x": {"agent": {"prompt": "p", "tools": [entry]}}}})
    finally:
        loop.subprocess_exec = original
    assert not file.exists()
    assert started == []


def test_what_settings_refuse():
    for server, message in (
        ({"url": "https://a.example", "command": ["x"]}, "exactly one of url and command"),
        ({}, "exactly one of url and command"),
        ({"command": ["x"], "token": {"env": "A"}}, "give a program its secrets in env"),
        ({"url": "https://a:b@a.example"}, "without credentials"),
        ({"url": "https://a.example", "env": {"A": "b"}}, "belong to command"),
    ):
        with pytest.raises(ValueError, match=message):
            Settings(mcp_servers={"test": server})
    with pytest.raises(ValueError, match="pattern"):
        Settings(mcp_servers={"Not A Name": {"url": "https://a.example"}})
