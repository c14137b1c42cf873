"""`agentic run`: start a workflow from a file or by name and see it through."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli.exits import CommandError, Exit
from actors.cli.money import run_budget
from actors.cli.output import Json, clean, console, print_json

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from actors.cli.sessions import Session

Mode = Annotated[str | None, typer.Option(help="live (real providers) or simulated (no network, no cost); the platform's default when absent.")]


@dataclass(frozen=True, slots=True)
class Staging:
    """What a run meets in place of the world, and whether what it is told is kept."""

    others: list[Path]
    seed: int
    record: Path | None
    replay: Path | None
    recorded_python: bool


@dataclass(frozen=True, slots=True)
class Order:
    """What to run and how."""

    target: str
    inputs: list[str]
    labels: list[str]
    mode: str | None
    local: bool
    watch: bool
    yes: bool
    show: list[str]
    as_json: bool
    stage: Staging
    budget: dict[str, Any] | None = None


def run(  # noqa: PLR0913 - each is an option
    target: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A definition file (- is stdin), which is published first, or the name of a workflow.")],
    inputs: Annotated[list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="An input: JSON or text; @path reads a file.")] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", metavar="NAME=VALUE", help="A label of the run.")] = None,
    mode: Mode = None,
    budget: Annotated[list[str] | None, typer.Option("--budget", "-b", metavar="NAME=VALUE", help="What it may spend, such as usd=5 or calls=100.")] = None,
    *,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, without Ray and without a server.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show the progress until the run has ended.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve every question the run asks, and say so. Implies --watch.")] = False,
    show: Annotated[list[str] | None, typer.Option("--show", metavar="ARTIFACT", help="Print this artifact at the end. Implies --watch.")] = None,
    others: Annotated[list[Path] | None, typer.Option("--with", metavar="FILE", help="A workflow that steps start, for --local simulated runs.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="What chance follows from in a --local simulated run.")] = 0,
    record: Annotated[Path | None, typer.Option("--record", metavar="FILE", help="Keep what the run is told as a cassette. Implies --watch.")] = None,
    replay: Annotated[Path | None, typer.Option("--replay", metavar="CASSETTE", help="Answer the run from a cassette. Implies --local.")] = None,
    recorded_python: Annotated[bool, typer.Option("--recorded-python", help="Take results of python steps from the cassette, too.")] = False,
    as_json: Json = False,
) -> None:
    """Start a run. Without --watch or --local the command returns as soon as the run is accepted.

    With --local a simulated run, or a replay, needs no network, takes no real time to wait, and leaves no trace.
    """
    if mode not in {None, "live", "simulated"}:
        raise CommandError("--mode is live or simulated", Exit.USAGE)
    if as_json and show:
        raise CommandError("--json and --show do not go together; use `agentic artifacts get`", Exit.USAGE)
    if replay is not None and mode is not None:
        raise CommandError("--replay has the mode of what was recorded; leave --mode out", Exit.USAGE)
    stage = Staging(others or [], seed, record, replay, recorded_python)
    wait = watch or yes or local or bool(show) or record is not None or replay is not None
    order = Order(target, inputs or [], label or [], mode, local or replay is not None, wait, yes, show or [], as_json, stage, run_budget(budget))
    raise typer.Exit(asyncio.run(_execute(order)))


def _session(order: Order) -> "AbstractAsyncContextManager[Session]":
    if order.local:
        from actors.cli.connection import load_settings

        settings, stage = load_settings(), order.stage
        if stage.replay is not None or (order.mode or settings.run_mode) == "simulated":
            from actors.cli.simulated import simulated

            return simulated(settings, stage)
        _refuse_others(stage)
        from actors.cli.local import local

        return local()
    _refuse_others(order.stage)
    from actors.cli.connection import connect
    from actors.cli.sessions import remote

    return remote(connect())


def _refuse_others(stage: Staging) -> None:
    if stage.others:
        raise CommandError("--with is for simulated runs with --local and for replays; publish workflows otherwise", Exit.USAGE)


async def _execute(order: Order) -> Exit:
    from actors.cli.follow import conclude, follow
    from actors.cli.inputs import parse_inputs
    from actors.cli.progress import View

    async with _session(order) as session:
        workflow, version, document = await _resolve(session, order.target)
        request: dict[str, Any] = {"inputs": parse_inputs(order.inputs, document.get("inputs") or {})}
        labels = parse_inputs(order.labels, {})
        optional = {"version": version, "mode": order.mode, "labels": {name: str(value) for name, value in labels.items()}, "budget": order.budget}
        run_id = await session.start(workflow, {**request, **{name: value for name, value in optional.items() if value}})
        if not order.watch:
            _accepted(run_id, workflow, as_json=order.as_json)
            return Exit.OK
        view = View.of(run_id, [*document.get("steps", {}), *(document.get("finally") or {})])
        view.workflow = workflow
        await follow(session, view, yes=order.yes, quiet=order.as_json)
        if order.stage.record is not None:
            from actors.cli.recording import keep

            await keep(session, run_id, order.stage.record, quiet=order.as_json)
        code = conclude(await session.run(run_id), as_json=order.as_json, output=not order.show)
        for name in order.show if code is Exit.OK else ():
            await _show(session, run_id, name)
        if differences := list(session.differences()):
            raise CommandError(f"the replay differs: {differences[0]}", Exit.FAILED, details=differences[1:])
        return code


async def _resolve(session: "Session", target: str) -> tuple[str, str | None, dict[str, Any]]:
    """The workflow to run, the version to pin it to, and its document."""
    if not _is_file(target):
        return target, None, await session.definition(target)
    from actors.cli.inputs import read_text
    from runtime.definition.validation import parse

    source = read_text(Path(target))
    loaded = parse(source)
    workflow, version = await session.publish(source)
    return workflow, version, loaded.document


def _is_file(target: str) -> bool:
    return target == "-" or "/" in target or "." in target or Path(target).is_file()


def _accepted(run_id: str, workflow: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"run_id": run_id, "workflow": workflow})
        return
    console().print(f"run {run_id} of {clean(workflow)} accepted; watch it with: agentic runs watch {run_id}", markup=False)


async def _show(session: "Session", run_id: str, name: str) -> None:
    text = (await session.artifact(run_id, name)).decode(errors="replace")
    console().print(f"\n── artifact {clean(name)} ──\n", markup=False)
    console().print(clean(text), markup=False)
