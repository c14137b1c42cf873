"""`agentic provider-keys …`: the keys model calls are made with."""

import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from actors.cli.exits import CommandError, Exit
from actors.cli.output import Json, line, print_json, table, when

provider_keys = typer.Typer(no_args_is_help=True, help="Keys of model providers: list, set, limit, test, delete.")
Provider = Annotated[str, typer.Argument(help="openai, openai-compatible, anthropic, google or bedrock.")]
MAX_READ = 64 * 1024
"""Characters read from standard input."""


@provider_keys.command("list")
def list_keys(*, as_json: Json = False) -> None:
    """Every key, by its end."""
    from actors.cli.client import api

    with api() as client:
        entries = client.call("GET", "/v1/provider-keys")["provider_keys"]
    if as_json:
        print_json(entries)
        return
    rows = [(e["provider"], e["base_url"], _end(e), e["fingerprint"], when(e["created_at"]), when(e["updated_at"])) for e in entries]
    table(("provider", "base URL", "key", "fingerprint", "created", "changed"), rows, empty="no provider keys")


@provider_keys.command("set")
def set_key(
    provider: Provider,
    base_url: Annotated[str | None, typer.Option("--base-url", help="Another server than the provider's own.")] = None,
    *,
    no_key: Annotated[bool, typer.Option("--no-key", help="The server at --base-url asks for none.")] = False,
    as_json: Json = False,
) -> None:
    """Store a key, and the address it is for. The key is asked for, or read from standard input: arguments can be seen by others."""
    from actors.cli.client import api

    body = {"base_url": base_url, **({} if no_key else {"key": _key(provider)})}
    with api() as client:
        entry = client.call("PUT", _path(provider), json=body)
    if as_json:
        print_json(entry)
    else:
        line(f"{provider}: {_end(entry)} for {entry['base_url']}")


@provider_keys.command("test")
def try_key(provider: Provider, *, as_json: Json = False) -> None:
    """Ask the provider whether it takes the stored key."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("POST", f"{_path(provider)}:test")
    if as_json:
        print_json(entry)
    else:
        line(f"{entry['verdict']}: {entry['detail']} ({entry['took_ms']} ms)", "green" if entry["ok"] else "red")
    raise typer.Exit(Exit.OK if entry["ok"] else Exit.FAILED)


@provider_keys.command()
def limit(
    provider: Provider,
    requests: Annotated[int | None, typer.Option("--requests-per-minute", min=1, help="Not limited when absent.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens-per-minute", min=1, help="Of questions and answers together.")] = None,
    in_flight: Annotated[int | None, typer.Option("--in-flight", min=1, help="Requests that have no answer yet.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Set all limits of the stored key."""
    from actors.cli.client import api

    body = {"requests_per_minute": requests, "tokens_per_minute": tokens, "in_flight": in_flight}
    with api() as client:
        entry = client.call("PUT", f"{_path(provider)}/limits", json=body)
    if as_json:
        print_json(entry)
    else:
        said = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in entry["limits"].items() if value is not None)
        line(f"{provider}: {said or 'no limits'}")


@provider_keys.command()
def delete(provider: Provider) -> None:
    """Forget a key; calls are made with the operator's again, if there is one."""
    from actors.cli.client import api

    with api() as client:
        client.call("DELETE", _path(provider))
    line(f"the key for {provider} is deleted")


def _key(provider: str) -> str:
    if sys.stdin.isatty():
        given: str = typer.prompt(f"Key for {provider}", hide_input=True)
    else:
        given = sys.stdin.read(MAX_READ)
    if not given.strip():
        raise CommandError("give the key on standard input: `agentic provider-keys set PROVIDER < file`", Exit.USAGE)
    return given.strip()


def _end(entry: dict[str, Any]) -> str:
    if not entry["readable"]:
        return "unreadable with this SECRET_KEY"
    if not entry["has_key"]:
        return "no key"
    return f"…{entry['last_four']}" if entry["last_four"] else "a short key"


def _path(provider: str) -> str:
    return f"/v1/provider-keys/{quote(provider, safe='')}"
