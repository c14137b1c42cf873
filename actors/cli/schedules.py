"""`agentic schedules …`: runs that start by themselves."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from actors.cli.exits import CommandError, Exit
from actors.cli.output import Json, Limit, fields, line, print_json, table, when

schedules = typer.Typer(no_args_is_help=True, help="Start workflows by cron expressions or intervals.")
Name = Annotated[str, typer.Argument(help="The schedule's name.")]


@schedules.command("list")
def list_schedules(limit: Limit = 100, *, as_json: Json = False) -> None:
    """Every schedule and when it ticks next."""
    from actors.cli.client import api

    with api() as client:
        entries = client.pages("/v1/schedules", limit)
    if as_json:
        print_json(entries)
        return
    rows = [(each["name"], each["workflow"], "; ".join(each["explained"]), each["timezone"], _state(each), when(each["next_tick"])) for each in entries]
    table(("name", "workflow", "when", "time zone", "state", "next"), rows, empty="no schedules yet; make one with `agentic schedules put FILE`")


@schedules.command("show")
def show_schedule(name: Name, limit: Limit = 10, *, as_json: Json = False) -> None:
    """One schedule, and what became of its last ticks."""
    from actors.cli.client import api

    with api() as client:
        entry = client.call("GET", _path(name))
        ticks = client.pages(f"{_path(name)}/ticks", limit)
    if as_json:
        print_json({**entry, "ticks": ticks})
        return
    _describe(entry)
    table(("tick", "outcome", "reason", "run", "late"), [_tick(each) for each in ticks], empty="no tick yet")


@schedules.command()
def put(file: Annotated[str, typer.Argument(help="A schedule in YAML or JSON, with its name; - is stdin.")], *, as_json: Json = False) -> None:
    """Make a schedule, or change the one of the same name."""
    from actors.cli.client import api
    from actors.cli.inputs import read_text
    from runtime.definition.yaml import read

    document, _ = read(read_text(Path(file)))
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str) or not name:
        raise CommandError(f"{file} does not say the schedule's `name`", Exit.USAGE)
    with api() as client:
        entry = client.call("PUT", _path(name), json=document)
    if as_json:
        print_json(entry)
    else:
        line(f"{entry['name']} starts {entry['workflow']}: {'; '.join(entry['explained'])} ({entry['timezone']}); {_next(entry)}", "green")


@schedules.command()
def pause(name: Name, note: Annotated[str | None, typer.Option("--note", help="Why.")] = None) -> None:
    """No tick starts until `resume`; runs under way go on."""
    _verb(name, "pause", {"note": note})


@schedules.command()
def resume(name: Name) -> None:
    """Go on with the first tick from now; the pause is not caught up."""
    _verb(name, "resume", {})


@schedules.command()
def trigger(name: Name, *, as_json: Json = False) -> None:
    """Start a run now, outside the ticks; prints its id."""
    from actors.cli.client import api

    with api() as client:
        run = client.call("POST", f"{_path(name)}:trigger")
    if as_json:
        print_json(run)
    else:
        line(run["run_id"])


@schedules.command()
def backfill(
    name: Name,
    start: Annotated[str, typer.Option("--from", help="First moment, such as 2026-01-05T00:00:00Z.")],
    to: Annotated[str, typer.Option("--to", help="Last moment.")],
    *,
    parallel: Annotated[bool, typer.Option("--parallel", help="All side by side, instead of one after the other.")] = False,
    as_json: Json = False,
) -> None:
    """Start the ticks of a past range after all; those that were started stay as they are."""
    from actors.cli.client import api

    body = {"from": start, "to": to, "overlap": "allow_all" if parallel else "buffer_all"}
    with api() as client:
        ticks = client.call("POST", f"{_path(name)}:backfill", json=body)["ticks"]
    if as_json:
        print_json(ticks)
    else:
        table(("tick", "outcome", "reason", "run", "late"), [_tick(each) for each in ticks], empty="no tick in this range")


@schedules.command()
def upcoming(name: Name, count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="How many.")] = 10, *, as_json: Json = False) -> None:
    """The next ticks, as if the schedule were not paused."""
    from actors.cli.client import api

    with api() as client:
        found = client.call("GET", f"{_path(name)}/upcoming", params={"count": count})["upcoming"]
    if as_json:
        print_json(found)
    else:
        table(("tick", "due"), [(when(each["tick"]), when(each["due_at"])) for each in found], empty="it never ticks again")


@schedules.command()
def delete(name: Name, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove a schedule and the record of its ticks. Its runs stay."""
    from actors.cli.client import api

    if not yes and not typer.confirm(f"Delete the schedule {name}?"):
        raise CommandError("nothing was deleted", Exit.CANCELED)
    with api() as client:
        client.call("DELETE", _path(name))
    line(f"{name} is deleted")


def _path(name: str) -> str:
    return f"/v1/schedules/{quote(name, safe='')}"


def _verb(name: str, verb: str, body: dict[str, Any]) -> None:
    from actors.cli.client import api

    with api() as client:
        entry = client.call("POST", f"{_path(name)}:{verb}", json=body)
    line(f"{entry['name']}: {_next(entry)}")


def _state(entry: dict[str, Any]) -> str:
    if entry["paused"]:
        return "paused"
    return "failed" if entry["error"] else "over" if entry["next_tick"] is None else "active"


def _next(entry: dict[str, Any]) -> str:
    if entry["paused"]:
        return "paused"
    return f"next at {when(entry['next_at'])}" if entry["next_at"] else "it never ticks again"


def _describe(entry: dict[str, Any]) -> None:
    error = entry["error"]
    fields(
        (
            ("name", entry["name"]),
            ("workflow", entry["workflow"] + (f" {entry['version'][:12]}" if entry["version"] else "")),
            ("when", "; ".join(entry["explained"])),
            ("time zone", entry["timezone"]),
            ("from", when(entry["start_at"])),
            ("until", when(entry["end_at"])),
            ("jitter", entry["jitter"] if entry["jitter"] != "0s" else ""),
            ("overlap", entry["overlap"]),
            ("catch up", entry["catchup"]),
            ("inputs", entry["inputs"]),
            ("state", _state(entry)),
            ("note", entry["note"]),
            ("next", when(entry["next_at"])),
            ("error", f"{error['code']}: {error['message']}" if error else ""),
            ("running", "\n".join(entry["running"])),
            ("waiting", entry["waiting"] or ""),
        )
    )


def _tick(entry: dict[str, Any]) -> tuple[str, ...]:
    from actors.cli.output import took

    reason = entry["reason"] or ""
    if entry["count"] > 1:
        reason += f", {entry['count']} ticks until {when(entry['last_tick'])}"
    if entry["error"]:
        reason += f": {entry['error']['message']}"
    late = took(entry["due_at"], entry["settled_at"]) if entry["outcome"] == "started" and not entry["backfill"] else ""
    return (when(entry["tick"]), entry["outcome"], reason, entry["run_id"] or "", late)
