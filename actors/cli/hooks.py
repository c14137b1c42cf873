"""`agentic hooks …`: addresses that start runs."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from actors.cli.output import Json, console, fields, line, print_json, table, when

hooks = typer.Typer(no_args_is_help=True, help="Webhooks in: addresses that start runs.")
HookId = Annotated[str, typer.Argument(metavar="HOOK", help="The hook's id.")]


@hooks.command("list")
def list_hooks(*, as_json: Json = False) -> None:
    """Every hook, without its address."""
    from actors.cli.client import api

    with api() as client:
        entries = client.call("GET", "/v1/hooks")["hooks"]
    if as_json:
        print_json(entries)
        return
    rows = [(e["hook_id"], e["name"], e["workflow"], (e["version"] or "current")[:12], e["verify"], when(e["created_at"])) for e in entries]
    table(("hook", "name", "workflow", "version", "verify", "created"), rows, empty="no hooks")


@hooks.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    workflow: Annotated[str, typer.Argument(help="The workflow it starts.")],
    version: Annotated[str | None, typer.Option(help="Content hash; the current version when absent.")] = None,
    verify: Annotated[str, typer.Option(help="standard (Standard Webhooks), hmac-sha256-hex (as GitHub does) or none.")] = "standard",
    header: Annotated[str | None, typer.Option(help="Where the HMAC stands; X-Hub-Signature-256 when absent.")] = None,
    secret: Annotated[str | None, typer.Option(envvar="AGENTIC_HOOK_SECRET", help="The sender's secret; a new one when absent.")] = None,
    inputs: Annotated[str | None, typer.Option("--inputs", "-i", help="The run's inputs over `body`: JSON, or @path. The whole message when absent.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="key=value of its runs; may be repeated.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Make an address. It and its secret are shown once."""
    from actors.cli.client import api
    from actors.cli.runs import read_json

    body = {
        "name": name,
        "workflow": workflow,
        "version": version,
        "verify": verify,
        "header": header,
        "secret": secret,
        "inputs": read_json(inputs),
        "labels": dict(each.partition("=")[::2] for each in label or ()) or None,
    }
    with api() as client:
        entry = client.call("POST", "/v1/hooks", json={key: value for key, value in body.items() if value is not None})
    _show_once(entry, as_json=as_json)


@hooks.command()
def show(hook_id: HookId, *, as_json: Json = False) -> None:
    """One hook."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("GET", _path(hook_id))
    if as_json:
        print_json(entry)
        return
    fields([(name.replace("_", " "), entry.get(name)) for name in ("hook_id", "name", "workflow", "version", "verify", "header", "inputs", "labels")])
    fields((("created", when(entry["created_at"])),))


@hooks.command()
def delete(hook_id: HookId) -> None:
    """Its address answers 404 from now on."""
    from actors.cli.client import api

    with api() as client:
        client.call("DELETE", _path(hook_id))
    line(f"{hook_id} is deleted")


@hooks.command()
def rotate(hook_id: HookId, *, as_json: Json = False) -> None:
    """Another address and another secret; the ones before end at once."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("POST", f"{_path(hook_id)}:rotate")
    _show_once(entry, as_json=as_json)


def _path(hook_id: str) -> str:
    return f"/v1/hooks/{quote(hook_id, safe='')}"


def _show_once(entry: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(entry)
        return
    line(f"{entry['hook_id']}: keep these; they are not shown again:")
    console().print(entry["url"], markup=False)
    if entry["secret"]:
        console().print(entry["secret"], markup=False)
