"""`agentic endpoints …`: who is told of events, and what was sent."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from actors.cli.output import Json, Limit, console, fields, line, print_json, table, when

endpoints = typer.Typer(no_args_is_help=True, help="Webhooks out: receivers of events, and what was sent to them.")
EndpointId = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The endpoint's id.")]
EventNames = Annotated[list[str] | None, typer.Option("--event", "-e", help="A kind of event, such as run.failed; may be repeated. All when absent.")]
WorkflowNames = Annotated[list[str] | None, typer.Option("--workflow", "-w", help="Only of runs of this workflow; may be repeated.")]
Description = Annotated[str | None, typer.Option("--description", "-d", help="What it is for.")]


@endpoints.command("list")
def list_endpoints(*, as_json: Json = False) -> None:
    """Every endpoint."""
    from actors.cli.client import api

    with api() as client:
        entries = client.call("GET", "/v1/endpoints")["endpoints"]
    if as_json:
        print_json(entries)
        return
    rows = [(e["endpoint_id"], e["url"], ", ".join(e["events"]), ", ".join(e["workflows"] or ("all",)), _health(e)) for e in entries]
    table(("endpoint", "url", "events", "workflows", "state"), rows, empty="no endpoints")


@endpoints.command()
def create(
    url: Annotated[str, typer.Argument(help="Where to send messages.")],
    event: EventNames = None,
    workflow: WorkflowNames = None,
    description: Description = None,
    *,
    as_json: Json = False,
) -> None:
    """Subscribe a URL. The secret its messages are signed with is shown once."""
    from actors.cli.client import api

    body = {"url": url, "events": event or None, "workflows": workflow or None, "description": description}
    with api() as client:
        entry = client.call("POST", "/v1/endpoints", json={name: value for name, value in body.items() if value is not None})
    _show_secret(entry, as_json=as_json)


@endpoints.command()
def show(endpoint_id: EndpointId, *, as_json: Json = False) -> None:
    """One endpoint."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("GET", _path(endpoint_id))
    if as_json:
        print_json(entry)
        return
    fields([(name.replace("_", " "), entry.get(name)) for name in ("endpoint_id", "url", "events", "workflows", "description")])
    fields((("state", _health(entry)), ("created", when(entry["created_at"])), ("failing since", when(entry.get("failing_since")))))


@endpoints.command()
def update(
    endpoint_id: EndpointId,
    url: Annotated[str | None, typer.Option(help="Where to send messages.")] = None,
    event: EventNames = None,
    workflow: WorkflowNames = None,
    description: Description = None,
    *,
    all_workflows: Annotated[bool, typer.Option("--all-workflows", help="Of all workflows again.")] = False,
) -> None:
    """Change what is named."""
    given = {"url": url, "events": event or None, "workflows": workflow or None, "description": description}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _change(endpoint_id, {**changes, **({"workflows": None} if all_workflows else {})})


@endpoints.command()
def enable(endpoint_id: EndpointId) -> None:
    """Send again, first what has been waiting."""
    _change(endpoint_id, {"enabled": True})


@endpoints.command()
def disable(endpoint_id: EndpointId) -> None:
    """Send nothing; what happens meanwhile is never sent."""
    _change(endpoint_id, {"enabled": False})


@endpoints.command()
def delete(endpoint_id: EndpointId) -> None:
    """Forget it and its deliveries."""
    from actors.cli.client import api

    with api() as client:
        client.call("DELETE", _path(endpoint_id))
    line(f"{endpoint_id} is deleted")


@endpoints.command()
def rotate(endpoint_id: EndpointId, *, as_json: Json = False) -> None:
    """A new secret; for 24 hours the one before signs too."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("POST", f"{_path(endpoint_id)}:rotate")
    _show_secret(entry, as_json=as_json)


@endpoints.command("test")
def send_test(endpoint_id: EndpointId, *, as_json: Json = False) -> None:
    """Send a message of type endpoint.test."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("POST", f"{_path(endpoint_id)}:test")
    if as_json:
        print_json(entry)
    else:
        line(f"{entry['delivery_id']} is on its way; see `agentic endpoints deliveries {endpoint_id}`")


@endpoints.command()
def deliveries(
    endpoint_id: EndpointId,
    state: Annotated[str | None, typer.Option(help="pending, delivered or given_up.")] = None,
    limit: Limit = 50,
    *,
    as_json: Json = False,
) -> None:
    """What was and will be sent, newest first."""
    from actors.cli.client import api

    with api() as client:
        entries = client.pages(f"{_path(endpoint_id)}/deliveries", limit, state=state)
    if as_json:
        print_json(entries)
        return
    rows = [(e["delivery_id"], e["event"], e["run_id"], e["state"], e["tries"], e["status"], when(e["next_at"] or e["ended_at"]), e["error"]) for e in entries]
    table(("delivery", "event", "run", "state", "tries", "status", "next or ended", "error"), rows, empty="nothing was sent")


@endpoints.command()
def redeliver(endpoint_id: EndpointId, delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id.")]) -> None:
    """Send a message again, with the id it had."""
    from actors.cli.client import api

    with api() as client:
        client.call("POST", f"{_path(endpoint_id)}/deliveries/{quote(delivery_id, safe='')}:redeliver")
    line(f"{delivery_id} is on its way again")


def _path(endpoint_id: str) -> str:
    return f"/v1/endpoints/{quote(endpoint_id, safe='')}"


def _change(endpoint_id: str, changes: dict[str, Any]) -> None:
    from actors.cli.client import api

    with api() as client:
        entry = client.call("PATCH", _path(endpoint_id), json=changes)
    line(f"{endpoint_id}: {_health(entry)}")


def _health(entry: dict[str, Any]) -> str:
    if not entry["enabled"]:
        return f"disabled: {entry['disabled_reason']}"
    return "failing" if entry["failing_since"] else "enabled"


def _show_secret(entry: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(entry)
        return
    line(f"{entry['endpoint_id']}: keep this secret; it is not shown again:")
    console().print(entry["secret"], markup=False)
