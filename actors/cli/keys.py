"""`agentic keys …`: API keys."""

from typing import Annotated
from urllib.parse import quote

import typer

from actors.cli.output import Json, console, line, print_json, table, when

keys = typer.Typer(no_args_is_help=True, help="API keys: list, create, revoke.")


@keys.command("list")
def list_keys(*, as_json: Json = False) -> None:
    """Every key, without its secret."""
    from actors.cli.client import api

    with api() as client:
        entries = client.call("GET", "/v1/keys")["keys"]
    if as_json:
        print_json(entries)
        return
    rows = [
        (e["key_id"], e["name"], ", ".join(e.get("scopes") or ()), when(e["created_at"]), when(e.get("expires_at")), when(e.get("revoked_at"))) for e in entries
    ]
    table(("key", "name", "scopes", "created", "expires", "revoked"), rows, empty="no keys")


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str] | None, typer.Option("--scope", help="read, write or admin; may be repeated. Only read when absent.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="How long it is valid; for ever when absent.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Make a key. Its text is shown once and never again."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("POST", "/v1/keys", json={"name": name, **({"scopes": scope} if scope else {}), **({"expires_in_days": days} if days else {})})
    if as_json:
        print_json(entry)
        return
    line("Keep this key; it is not shown again:")
    console().print(entry["key"], markup=False)


@keys.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")]) -> None:
    """End a key at once."""
    from actors.cli.client import api

    with api() as client:
        client.call("DELETE", f"/v1/keys/{quote(key_id, safe='')}")
    line(f"{key_id} is revoked")
