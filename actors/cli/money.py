"""`agentic usage` and `agentic budgets …`: what model calls took, and what may be spent."""

from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from actors.cli.exits import CommandError, Exit
from actors.cli.output import Json, Limit, line, print_json, table

budgets = typer.Typer(no_args_is_help=True, help="What workflows, users and the tenant may spend: list, set, delete.")
FIGURES = ("calls", "input_tokens", "cached_tokens", "output_tokens", "usd")


class Group(StrEnum):
    """What totals can be grouped by."""

    RUN = "run"
    STEP = "step"
    WORKFLOW = "workflow"
    USER = "user"
    MODEL = "model"
    DAY = "day"


class Scope(StrEnum):
    """Whom a budget can be for."""

    WORKFLOW = "workflow"
    USER = "user"
    TENANT = "tenant"


class Period(StrEnum):
    """When its counting begins anew."""

    DAY = "day"
    MONTH = "month"


class Exceeded(StrEnum):
    """What a call does that does not fit any more."""

    STOP = "stop"
    ASK = "ask"


ScopeOf = Annotated[Scope, typer.Argument(help="Whom it is for.")]
Name = Annotated[str, typer.Argument(help="The workflow, the user (the id of an API key), or - for the tenant.")]
PeriodOf = Annotated[Period, typer.Option("--period", help="Of UTC.")]


def usage(
    by: Annotated[list[Group] | None, typer.Option("--by", help="Group by this; may be repeated. One total when absent.")] = None,
    since: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Calls since then (RFC 3339, or a date).")] = None,
    until: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Calls before then.")] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Only of this workflow.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Only of this user: the id of an API key.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only of this model.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only of this run and the runs below it.")] = None,
    limit: Limit = 1000,
    *,
    as_json: Json = False,
) -> None:
    """What model calls took: calls, tokens and dollars."""
    from actors.cli.client import api

    groups = [group.value for group in by or ()]
    wanted = {"group_by": groups, "from": since, "to": until, "workflow": workflow, "user": user, "model": model, "run": run}
    with api() as client:
        entries = client.pages("/v1/usage", limit, **wanted)
    if as_json:
        print_json(entries)
        return
    names = [name for name in ("workflow", *groups) if name != "workflow" or {"step", "workflow"} & set(groups)]
    columns = [*dict.fromkeys(names), *FIGURES]
    table([column.replace("_", " ") for column in columns], [[entry[column] for column in columns] for entry in entries], empty="no model calls")
    unpriced = sum(entry["unpriced_calls"] for entry in entries)
    if unpriced:
        line(f"{unpriced} calls have no known price and are not in the dollars", "yellow")


@budgets.command("list")
def list_budgets(*, as_json: Json = False) -> None:
    """All budgets, and how much of each is spent."""
    from actors.cli.client import api

    with api() as client:
        entries = client.call("GET", "/v1/budgets")["budgets"]
    if as_json:
        print_json(entries)
        return
    rows = [(e["scope"], e["name"], e["period"], *(_share(e, measure) for measure in ("usd", "tokens", "calls")), e["on_exceeded"]) for e in entries]
    table(("of", "name", "each", "usd", "tokens", "calls", "then"), rows, empty="no budgets")


@budgets.command("set")
def set_budget(
    scope: ScopeOf,
    name: Name,
    period: PeriodOf = Period.MONTH,
    usd: Annotated[float | None, typer.Option(min=0, help="Dollars.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens, input and output together.")] = None,
    calls: Annotated[int | None, typer.Option(min=1, help="Model calls.")] = None,
    on_exceeded: Annotated[Exceeded, typer.Option(help="Fail the step, or pause the run and ask.")] = Exceeded.STOP,
    *,
    as_json: Json = False,
) -> None:
    """Set a budget, in the place of the one before."""
    from actors.cli.client import api

    body = {"usd": usd, "tokens": tokens, "calls": calls, "on_exceeded": on_exceeded.value}
    with api() as client:
        entry = client.call("PUT", _path(scope, name, period), json={key: value for key, value in body.items() if value is not None})
    if as_json:
        print_json(entry)
    else:
        line(
            f"{entry['scope']} {entry['name']}, each {entry['period']}: " + ", ".join(f"{_share(entry, m)} {m}" for m in ("usd", "tokens", "calls") if entry[m])
        )


@budgets.command()
def delete(scope: ScopeOf, name: Name, period: PeriodOf = Period.MONTH) -> None:
    """Remove a budget."""
    from actors.cli.client import api

    with api() as client:
        client.call("DELETE", _path(scope, name, period))
    line(f"the budget of {scope.value} {name} for each {period.value} is gone")


def run_budget(pairs: list[str] | None) -> dict[str, Any] | None:
    """The budget of a run from `usd=5`, `tokens=100000`, `calls=50`, `duration=1h`, `on_exceeded=ask`. Raises CommandError."""
    from actors.cli.inputs import parse_inputs

    found = parse_inputs(pairs or [], {"duration": {"type": "string"}})
    unknown = set(found) - {"usd", "tokens", "calls", "duration", "on_exceeded"}
    if unknown:
        raise CommandError(f"a budget has usd, tokens, calls, duration and on_exceeded, not {sorted(unknown)[0]}", Exit.USAGE)
    return found or None


def _share(entry: dict[str, Any], measure: str) -> str:
    return "" if entry[measure] is None else f"{entry['spent'][measure]} / {entry[measure]}"


def _path(scope: Scope, name: str, period: Period) -> str:
    return f"/v1/budgets/{scope.value}/{quote(name, safe='')}/{period.value}"
