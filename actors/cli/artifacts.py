"""`agentic artifacts …`: the files runs have made."""

import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from actors.cli.exits import CommandError, Exit
from actors.cli.output import Json, Limit, line, print_json, size, table, when

artifacts = typer.Typer(no_args_is_help=True, help="Files that runs have made.")
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]


@artifacts.command("list")
def list_artifacts(run_id: RunId, limit: Limit = 100, *, as_json: Json = False) -> None:
    """The artifacts of a run."""
    from actors.cli.client import api

    with api() as client:
        entries = client.pages(f"/v1/runs/{quote(run_id, safe='')}/artifacts", limit)
    if as_json:
        print_json(entries)
        return
    rows = [(e["name"], size(e["size"]), e["media_type"], e.get("step"), when(e["created_at"])) for e in entries]
    table(("name", "size", "type", "step", "created"), rows, empty="this run has no artifacts")


@artifacts.command()
def get(
    run_id: RunId,
    name: Annotated[str, typer.Argument(help="The artifact's name.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file, which must not exist, instead of stdout.")] = None,
) -> None:
    """Print an artifact, or save it."""
    from actors.cli.client import api

    with api() as client, client.download(f"/v1/runs/{quote(run_id, safe='')}/artifacts/{quote(name)}") as chunks:
        if output is None:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            return
        try:
            with output.open("xb") as file:
                for chunk in chunks:
                    file.write(chunk)
        except FileExistsError:
            raise CommandError(f"{output} exists already", Exit.CONFLICT) from None
    line(f"{output}: {size(output.stat().st_size)}")
