"""`agentic tools …`: what agents of this installation may use."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli.connection import load_settings
from actors.cli.exits import CommandError, Exit
from actors.cli.output import Json, line, print_json, table

if TYPE_CHECKING:
    from runtime.settings import Settings

tools = typer.Typer(no_args_is_help=True, help="Tools: functions, HTTP APIs, MCP servers.")


@tools.command("list")
def list_tools(
    source: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this API or MCP server.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """What this installation's settings offer, asked of the APIs and servers themselves. Also prints the hash that `tools_sha256` pins."""
    settings = load_settings()
    if source is not None and source not in {*settings.apis, *settings.mcp_servers}:
        raise CommandError(f"the settings name no API and no MCP server '{source}'", Exit.NOT_FOUND)
    found = asyncio.run(_sources(settings, source))
    if as_json:
        print_json(found)
    else:
        for entry in found:
            _show(entry)
    if any("problem" in entry for entry in found):
        raise typer.Exit(int(Exit.FAILED))


def _show(entry: dict[str, Any]) -> None:
    line(f"{entry['kind']} {entry['name']}".strip(), "bold")
    if "problem" in entry:
        line(entry["problem"], "red")
        return
    if "tools_sha256" in entry:
        line(f"tools_sha256: {entry['tools_sha256']} ({entry['pinned']})", "dim")
    rows = [(tool["name"], tool["description"].split("\n", 1)[0][:100]) for tool in entry["tools"]]
    table(("tool", "what it does"), rows, empty="no tools")


async def _sources(settings: "Settings", wanted: str | None) -> list[dict[str, Any]]:
    """One entry for each source of tools. A source that cannot be asked has `problem` instead of `tools`."""
    from runtime.artifacts.open import open_artifacts
    from runtime.steps.addresses import AllowList
    from runtime.steps.agent import network
    from runtime.toolsets.toolsets import SharedToolsets

    toolsets = SharedToolsets(settings, open_artifacts(settings), lambda: network(AllowList.parse(settings.outbound_allow)))
    try:
        found = [] if wanted else [_functions(settings)]
        found += [await _api(name, toolsets) for name in settings.apis if wanted in (None, name)]
        return found + [await _server(name, settings, toolsets) for name in settings.mcp_servers if wanted in (None, name)]
    finally:
        await toolsets.close()


def _functions(settings: "Settings") -> dict[str, Any]:
    from runtime.agents.tools import description_of, registered
    from runtime.errors import StepFailed
    from runtime.steps.agent import TOOLS
    from runtime.steps.functions import resolve

    tools = []
    for name, reference in sorted(registered().items()):
        try:
            description = description_of(resolve(reference, settings.python_modules, group=TOOLS).call)
        except StepFailed as reason:
            description = f"cannot be used: {reason}"
        tools.append({"name": name, "description": description})
    return {"kind": "functions", "name": f"(besides module:function of {', '.join(settings.python_modules)})", "tools": tools}


async def _api(name: str, toolsets: Any) -> dict[str, Any]:
    from runtime.errors import StepFailed

    try:
        offers = await toolsets.apis.offers({"openapi": name}, toolsets.network)
    except StepFailed as reason:
        return {"kind": "openapi", "name": name, "problem": str(reason)}
    return {"kind": "openapi", "name": name, "tools": [_told(offer, offer["operation"]) for offer in offers]}


async def _server(name: str, settings: "Settings", toolsets: Any) -> dict[str, Any]:
    from runtime.errors import StepFailed
    from runtime.toolsets.servers import Server, tools_sha256

    accepted = settings.mcp_servers[name].tools_sha256
    server = Server(name, settings.mcp_servers[name].model_copy(update={"tools_sha256": None}))  # a person looks at what is there
    try:
        offers = await server.offers([], toolsets.network)
        found = tools_sha256(await server.tools(toolsets.network))
    except StepFailed as reason:
        return {"kind": "mcp", "name": name, "problem": str(reason)}
    finally:
        await server.close()
    pinned = "not pinned" if accepted is None else "as accepted" if accepted == found else "CHANGED since it was accepted"
    return {"kind": "mcp", "name": name, "tools_sha256": found, "pinned": pinned, "tools": [_told(offer, offer["tool"]) for offer in offers]}


def _told(offer: dict[str, Any], original: str) -> dict[str, Any]:
    return {"name": offer["name"], "original": original, "description": offer["description"], "parameters": offer["parameters"]}
