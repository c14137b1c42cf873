"""`agentic db …` and `agentic doctor`."""

import asyncio
from typing import Annotated

import typer

from actors.cli.connection import load_settings
from actors.cli.exits import Exit
from actors.cli.output import Json, console, line, print_json
from actors.cli.secrets import rotate

database = typer.Typer(no_args_is_help=True, help="The database.")


@database.command()
def upgrade() -> None:
    """Bring the database's schema to this version. Safe to run again."""
    asyncio.run(_upgrade())
    line("the schema is up to date")


async def _upgrade() -> None:
    from runtime.store.open import open_store

    await (await open_store(load_settings().database, migrate=True)).close()


@database.command()
def prune(
    *,
    older_than: Annotated[str | None, typer.Option("--older-than", help="Age since the end, such as 30d or 12h; the settings decide when absent.")] = None,
    status: Annotated[list[str], typer.Option("--status", help="Only runs that ended so: succeeded, failed, canceled. May be repeated.")] = [],  # noqa: B006 - typer copies it
    workflow: Annotated[str | None, typer.Option("--workflow", help="Only runs of this workflow.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Then give the room back to the disk (SQLite; everything that writes waits).")] = False,
    as_json: Json = False,
) -> None:
    """Remove old runs with all that belongs to them, now. Safe while the platform runs."""
    from actors.cli.pruning import Wish, carry_out

    wish = Wish(older_than, tuple(status), workflow, dry_run=dry_run, vacuum=vacuum)
    pruned = asyncio.run(carry_out(load_settings(), wish))
    if as_json:
        print_json(pruned.document())
    else:
        for text in pruned.sentences():
            line(text)


database.command("rewrap")(rotate)


def doctor(
    *,
    fsck: Annotated[bool, typer.Option("--fsck", help="Also check every run's journal against the invariants. Reads the whole database.")] = False,
    as_json: Json = False,
) -> None:
    """Check the installation: Python, packages, disk, database, platform."""
    from actors.cli.checks import examine

    findings = asyncio.run(examine(load_settings(), fsck=fsck))
    failed = any(finding.state == "bad" for finding in findings)
    if as_json:
        print_json({"ok": not failed, "checks": [{"name": f.name, "state": f.state, "detail": f.detail} for f in findings]})
    else:
        marks = {"ok": ("✔", "green"), "note": ("•", "yellow"), "bad": ("✘", "red")}
        screen = console()
        for finding in findings:
            mark, style = marks[finding.state]
            screen.print(f"{mark} {finding.name}: {finding.detail}", style=style, markup=False)
    raise typer.Exit(Exit.FAILED if failed else Exit.OK)
