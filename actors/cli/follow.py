"""Follows a run to its end: a live table on a terminal, one line per event elsewhere, nothing for machines."""

from collections.abc import Callable
from typing import Any

from actors.cli.exits import CommandError, Exit, exit_for_run
from actors.cli.forms import blank_form
from actors.cli.output import clean, console, print_json, took
from actors.cli.progress import View, describe, draw
from actors.cli.sessions import Session

YES_COMMENT = "answered by --yes on the command line"


async def follow(session: Session, view: View, *, yes: bool, quiet: bool) -> None:
    """Feed the run's events to `view` until it has ended; with `yes`, approve every question the run asks."""
    if quiet:
        await _each(session, view, yes=yes, show=lambda _: None)
        return
    screen = console()
    if not screen.is_terminal:
        await _each(session, view, yes=yes, show=lambda text: screen.print(clean(text), markup=False))
        return
    from rich.live import Live

    with Live(get_renderable=lambda: draw(view), console=screen, refresh_per_second=8) as live:
        # The table shows the steps; above it stays what a person was asked and who answered.
        def above(text: str) -> None:
            if text.startswith(("approval.", "--yes")):
                live.console.print(clean(text), markup=False)

        await _each(session, view, yes=yes, show=above, deltas=True)


async def _each(session: Session, view: View, *, yes: bool, show: Callable[[str], None], deltas: bool = False) -> None:
    async for event in session.events(view.run_id, view.seq, deltas=deltas):
        view.apply(event)
        text = describe(event)
        if text:
            show(text)
        if yes and event["event"] == "approval.requested":
            await _approve(session, event["body"], show)


async def _approve(session: Session, asked: dict[str, Any], show: Callable[[str], None]) -> None:
    """Answer a question with the defaults of its form; one that was answered before, as when an older run is watched, stays as it is."""
    from runtime.errors import Conflict

    approval_id = asked["approval_id"]
    try:
        await session.decide(approval_id, approved=True, comment=YES_COMMENT, form=blank_form(asked.get("form")))
    except (Conflict, CommandError) as error:
        if isinstance(error, CommandError) and error.exit_code is not Exit.CONFLICT:
            raise
        show(f"--yes: {approval_id} was {error}")
    else:
        show(f"--yes: approved {approval_id}")


def conclude(run: dict[str, Any], *, as_json: bool, output: bool = True) -> Exit:
    """Print how the run ended, with its output if wished, and return the exit code."""
    status = str(run["status"])
    if as_json:
        print_json(run)
        return exit_for_run(status)
    screen = console()
    duration = took(run.get("created_at"), run.get("ended_at"))
    screen.print(f"run {clean(run['run_id'])} {status}{' in ' if duration else ''}{duration}", markup=False)
    if run.get("error"):
        screen.print(clean(f"{run['error'].get('code', 'error')}: {run['error'].get('message', '')}"), style="red", markup=False)
    elif output and run.get("output") not in (None, {}):
        screen.print_json(data=run["output"])
    return exit_for_run(status)
