"""`agentic record`: keep what a run was told by the world outside, to run and test on it without that world."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.cli.output import line, size

if TYPE_CHECKING:
    from actors.cli.sessions import Session


def record(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The id of a run that has ended.")],
    file: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="The cassette; <workflow>.cassette.yaml when absent.")] = None,
) -> None:
    """Write the cassette of a run of the platform: inputs, model and tool calls, answers of http and python steps, and what people gave."""
    asyncio.run(_record(run_id, file))


async def _record(run_id: str, file: Path | None) -> None:
    from actors.cli.connection import connect
    from actors.cli.sessions import remote

    connection = connect()
    async with remote(connection) as session:
        await keep(session, run_id, file, secrets=(connection.key or "",))


async def keep(session: "Session", run_id: str, file: Path | None, *, secrets: tuple[str, ...] = (), quiet: bool = False) -> None:
    """Write the cassette of a run of this session."""
    from actors.cli.connection import load_settings
    from runtime.simulation.cassette import write_cassette
    from runtime.simulation.recording import record as recorded
    from runtime.simulation.redaction import Redaction, known_secrets

    cassette = await recorded(_Origin(session), run_id, Redaction((*known_secrets(load_settings()), *secrets)))
    path = file or Path(f"{cassette.workflow}.cassette.yaml")
    write_cassette(path, cassette)
    if not quiet:
        calls = sum(len(attempt.calls) for entry in cassette.steps for attempt in entry.attempts)
        line(f"{path}: {len(cassette.steps)} steps and items, {calls} calls, {size(path.stat().st_size)}", "green")


class _Origin:
    """Reads runs through a session."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self.run, self.kinds, self.value, self.artifact = session.run, session.kinds, session.value, session.artifact

    async def events(self, run_id: str) -> list[dict[str, Any]]:
        return [event async for event in self._session.events(run_id)]
