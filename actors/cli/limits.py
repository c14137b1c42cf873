"""`agentic limits` and `agentic cache …`: what model calls wait for, and what they need not ask again."""

from typing import Annotated, Any

import typer

from actors.cli.output import Json, line, print_json, table

cache = typer.Typer(no_args_is_help=True, help="Kept answers of models: show, clear.")


def limits(*, as_json: Json = False) -> None:
    """What limits the provider keys in use, and what waits for them."""
    from actors.cli.client import api

    with api() as client:
        entries = client.call("GET", "/v1/provider-limits")["provider_limits"]
    if as_json:
        print_json(entries)
        return
    rows = [row for entry in entries for row in _rows(entry)]
    table(("provider", "model", "requests/min", "tokens/min", "in flight", "waiting", "paused", "refusals"), rows, empty="no provider key is in use")


@cache.command()
def show(*, as_json: Json = False) -> None:
    """How many answers are kept."""
    from actors.cli.client import api

    with api() as client:
        found = client.call("GET", "/v1/cached-calls")
    if as_json:
        print_json(found)
    else:
        line(f"{found['entries']} answers, {found['bytes']} bytes")


@cache.command()
def clear(*, workflow: Annotated[str | None, typer.Option("--workflow", help="Only what this workflow has asked.")] = None, as_json: Json = False) -> None:
    """Forget kept answers: every question is asked anew."""
    from actors.cli.client import api

    with api() as client:
        found = client.call("DELETE", "/v1/cached-calls", params={} if workflow is None else {"workflow": workflow})
    if as_json:
        print_json(found)
    else:
        line(f"{found['removed']} answers forgotten")


def _rows(entry: dict[str, Any]) -> list[tuple[Any, ...]]:
    set_by_us = entry["limits"]
    flight = " of ".join(shown for shown in (_shown(entry["in_flight"]), _shown(set_by_us["in_flight"])) if shown)
    whose = f"{entry['provider']} (operator's)" if entry["shared"] else entry["provider"]
    rows = [(whose, "all", _shown(set_by_us["requests_per_minute"]), _shown(set_by_us["tokens_per_minute"]), flight, _shown(entry["waiting"]), "", "")]
    for model in entry["models"]:
        lowest = min((limit for limit in (model["requests_per_minute"], model["careful_requests_per_minute"]) if limit is not None), default=None)
        paused = f"{model['paused_ms'] / 1000:.0f} s" if model["paused_ms"] else ""
        rows.append((whose, model["model"], _shown(lowest), _shown(model["tokens_per_minute"]), "", model["waiting"], paused, model["refusals"]))
    return rows


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
