"""`agentic runs …` and `agentic signal`."""

import asyncio
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from actors.cli.exits import CommandError, Exit
from actors.cli.money import run_budget
from actors.cli.output import Json, Limit, fields, line, print_json, table, took, when

runs = typer.Typer(no_args_is_help=True, help="List, show, watch and steer runs.")
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


def _path(run_id: str, suffix: str = "") -> str:
    return f"/v1/runs/{quote(run_id, safe='')}{suffix}"


@runs.command("list")
def list_runs(
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", help="Only runs of this workflow.")] = None,
    status: Annotated[list[str] | None, typer.Option("--status", "-s", help="Only runs in this state; may be repeated.")] = None,
    waiting_for: Annotated[str | None, typer.Option("--waiting-for", help="Only runs that wait for this, such as slot or approval.")] = None,
    limit: Limit = 30,
    *,
    as_json: Json = False,
) -> None:
    """Runs, newest first."""
    from actors.cli.client import api

    with api() as client:
        entries = client.pages("/v1/runs", limit, workflow=workflow, status=status, waiting_for=waiting_for)
    if as_json:
        print_json(entries)
        return
    rows = [
        (e["run_id"], e["workflow"], e["status"], e.get("waiting_for"), e["mode"], when(e["created_at"]), took(e["created_at"], e["ended_at"])) for e in entries
    ]
    table(("run", "workflow", "status", "waits for", "mode", "created", "took"), rows, empty="no runs")


@runs.command()
def show(run_id: RunId, *, as_json: Json = False) -> None:
    """One run: state, steps, output or error."""
    from actors.cli.client import api

    with api() as client:
        run = client.call("GET", _path(run_id))
        steps = client.call("GET", _path(run_id, "/steps"))["steps"]
    if as_json:
        print_json({**run, "steps": steps})
        return
    names = ("run_id", "workflow", "version", "status", "waiting_for", "mode", "forked_from", "parent", "labels")
    fields(
        [(name.replace("_", " "), run.get(name)) for name in names] + [("created", when(run["created_at"])), ("took", took(run["created_at"], run["ended_at"]))]
    )
    table(("step", "status", "attempt", "took", "note"), [_step_row(step) for step in steps], empty="no steps yet")
    fields((("usage", _usage(run["usage"])), ("budget", run.get("budget")), ("output", run.get("output")), ("error", run.get("error"))))


def _usage(found: dict[str, Any]) -> str:
    """`12 calls, 3400 + 900 tokens, 0.0123 USD`; empty when there was no call."""
    priced = f"{found['usd']} USD" + (f" and {found['unpriced_calls']} calls without a known price" if found["unpriced_calls"] else "")
    return f"{found['calls']} calls, {found['input_tokens']} + {found['output_tokens']} tokens, {priced}" if found["calls"] else ""


def _step_row(step: dict[str, Any]) -> tuple[Any, ...]:
    error = step.get("error") or {}
    items = step.get("items") or {}
    progress = f"{items['succeeded']}/{items['total']} items" if items else ""
    note = f"{error.get('code')}: {error.get('message')}" if error else step.get("reason") or progress
    return step["step"], step["status"], step.get("attempt") or "", took(step["started_at"], step["ended_at"]), note


@runs.command()
def watch(
    run_id: RunId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve every question the run asks, and say so.")] = False,
    as_json: Json = False,
) -> None:
    """Show the progress until the run has ended."""
    raise typer.Exit(asyncio.run(_watch(run_id, yes=yes, as_json=as_json)))


async def _watch(run_id: str, *, yes: bool, as_json: bool) -> Exit:
    from actors.cli.connection import connect
    from actors.cli.follow import conclude, follow
    from actors.cli.progress import View
    from actors.cli.sessions import remote

    async with remote(connect()) as session:
        await session.run(run_id)  # a run that does not exist is told before the screen is taken over
        await follow(session, View(run_id), yes=yes, quiet=as_json)
        return conclude(await session.run(run_id), as_json=as_json)


def _order(run_id: str, verb: str, body: dict[str, Any], *, as_json: bool) -> dict[str, Any]:
    from actors.cli.client import api

    with api() as client:
        answer: dict[str, Any] = client.call("POST", _path(run_id, f":{verb}"), json=body)
    if as_json:
        print_json(answer)
    return answer


@runs.command()
def delete(run_id: RunId, *, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove an ended run, its journal and its artifacts. There is no way back."""
    from actors.cli.client import api

    if not yes:
        typer.confirm(f"Remove run {run_id} for ever?", abort=True)
    with api() as client:
        client.call("DELETE", _path(run_id))
    line(f"{run_id} is gone")


@runs.command()
def cancel(run_id: RunId, reason: Annotated[str, typer.Option(help="Kept in the journal.")] = "", *, as_json: Json = False) -> None:
    """Cancel a run: what is in flight is stopped, `finally` steps still run."""
    _order(run_id, "cancel", {"reason": reason} if reason else {}, as_json=as_json)
    if not as_json:
        line(f"{run_id} will be canceled")


@runs.command()
def pause(run_id: RunId, *, as_json: Json = False) -> None:
    """Start no further steps of a run until it is resumed."""
    _order(run_id, "pause", {}, as_json=as_json)
    if not as_json:
        line(f"{run_id} will pause")


@runs.command()
def resume(
    run_id: RunId,
    budget: Annotated[
        list[str] | None, typer.Option("--budget", "-b", metavar="NAME=VALUE", help="What it may spend in all from now on, such as usd=10.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Let a paused run go on."""
    given = run_budget(budget)
    _order(run_id, "resume", {"budget": given} if given else {}, as_json=as_json)
    if not as_json:
        line(f"{run_id} goes on")


@runs.command()
def retry(run_id: RunId, *, as_json: Json = False) -> None:
    """Start a new run that reuses the finished steps of a failed or canceled one."""
    answer = _order(run_id, "retry", {}, as_json=as_json)
    if not as_json:
        line(f"{answer['run_id']} continues {run_id}; watch it with: agentic runs watch {answer['run_id']}")


@runs.command()
def fork(
    run_id: RunId,
    step: Annotated[str, typer.Option("--from", help="The step to start again from; steps that do not depend on it are reused.")],
    inputs: Annotated[list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input to change.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Start a new run from a step of an ended one, with edited inputs if wished."""
    from actors.cli.inputs import parse_inputs

    body: dict[str, Any] = {"from_step": step}
    if inputs:
        body["inputs"] = parse_inputs(inputs, {})
    answer = _order(run_id, "fork", body, as_json=as_json)
    if not as_json:
        line(f"{answer['run_id']} starts from {step}; watch it with: agentic runs watch {answer['run_id']}")


class Action(StrEnum):
    """What to do about an attempt whose effect is unknown."""

    RETRY = "retry"
    FAIL = "fail"
    SUCCEED = "succeed"


@runs.command()
def decide(
    run_id: RunId,
    step: Annotated[str, typer.Argument(help="The step that asks.")],
    action: Annotated[Action, typer.Argument(help="Run it again, let it fail, or take it as done.")],
    index: Annotated[int | None, typer.Option(min=0, help="The item, when the step is a map.")] = None,
    output: Annotated[str | None, typer.Option(help="With succeed: the result, as JSON or @path.")] = None,
) -> None:
    """Say what became of an attempt that a crash has cut off (`on_crash: ask`)."""
    from actors.cli.client import api

    body = {"step": step, "action": action.value, "index": index, "output": read_json(output)}
    with api() as client:
        client.call("POST", _path(run_id, "/decisions"), json={name: value for name, value in body.items() if value is not None})
    line(f"{step} of {run_id}: {action.value}")


def signal(
    run_id: RunId,
    name: Annotated[str, typer.Argument(help="The signal's name.")],
    payload: Annotated[str | None, typer.Option("--payload", "-p", help="JSON, or @path.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Send a signal to a run."""
    from actors.cli.client import api

    with api() as client:
        answer = client.call("POST", _path(run_id, f"/signals/{quote(name, safe='')}"), json={"payload": read_json(payload)})
    if as_json:
        print_json(answer)
    else:
        line(f"signal {name} sent to {run_id}")


def read_json(text: str | None) -> Any:
    """JSON from an option or from `@path`; None when absent. Raises CommandError."""
    from actors.cli.inputs import read_text

    if text is None:
        return None
    try:
        return json.loads(read_text(Path(text[1:])) if text.startswith("@") else text)
    except ValueError as error:
        raise CommandError(f"this is not JSON: {error}", Exit.USAGE) from None
