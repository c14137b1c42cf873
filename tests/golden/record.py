"""Record the golden journals of this release: `python -m tests.golden.record`.

Runs every scene on the local platform and writes, for each, `v<major>.<minor>/<scene>.json`: definitions, events as they stand in the
database, and the state and columns they fold to. Journals of a release are recorded once, when it is made, and never again
(CONTRIBUTING.md): whatever they hold is what databases out there hold.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from sqlalchemy import Connection, select

from runtime.definition.plan import plan_for
from runtime.engine.evolve import fold
from runtime.local import LocalPlatform
from runtime.settings import Settings
from runtime.store.codec import read_event
from runtime.store.fsck import fsck
from runtime.store.open import Store, open_store
from runtime.store.protocol import RunQuery, RunRow
from runtime.store.rows import EVENT_COLUMNS
from runtime.store.tables import events
from runtime.version import VERSION
from tests.golden.canonical import canonical, columns_of, known_fields
from tests.golden.flows import F
from tests.golden.scenes import SCENES, TENANT, Scene

HERE = Path(__file__).parent
EVENT_FIELDS = tuple(column.name for column in EVENT_COLUMNS)


class _Page(BaseHTTPRequestHandler):
    """Answers every request with the same JSON."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b'{"golden":1}')

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def a_page() -> Iterator[int]:
    """The port of a server for the `http` step."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def record(scene: Scene, port: int, home: Path) -> dict[str, Any]:
    """Everything the scene leaves in a database of its own."""
    settings = Settings(home=home, python_modules=[F], outbound_allow=["127.0.0.1"], drain_ms=0, passivate_after_ms=1000, openai_api_key=None, code_steps=True)
    await scene(lambda: LocalPlatform(settings), port)
    store = await open_store(settings.database)
    try:
        assert await fsck(store) == []
        rows = sorted(await store.journal.runs(RunQuery(TENANT, limit=1000)), key=lambda row: row.run_id)
        documents = {row.definition: await _document(store, row) for row in rows}
        return {
            "release": VERSION,
            "scene": scene.__name__,
            "fields": known_fields(),
            "definitions": documents,
            "runs": [await _run(store, row, documents[row.definition]) for row in rows],
        }
    finally:
        await store.close()


async def _document(store: Store, row: RunRow) -> dict[str, Any]:
    stored = await store.catalog.definition(TENANT, row.definition)
    assert stored is not None
    return stored.document


async def _run(store: Store, row: RunRow, document: dict[str, Any]) -> dict[str, Any]:
    def read(connection: Connection) -> list[list[Any]]:
        return [list(found) for found in connection.execute(select(*EVENT_COLUMNS).where(events.c.run_id == row.run_id).order_by(events.c.seq))]

    stored = await store.reader.read(read)
    state = fold(plan_for(document, row.definition), [read_event(row.run_id, each) for each in stored], run_id=row.run_id)
    return {"run_id": row.run_id, "columns": columns_of(row), "events": stored, "state": canonical(state, known_fields())}


def write(path: Path, golden: dict[str, Any]) -> None:
    """One event to a line, so that a reader finds it and a diff shows it."""
    parts = [f' "{key}": {_line(value)}' for key, value in golden.items() if key != "runs"]
    runs = ",\n".join(_run_text(run) for run in golden["runs"])
    path.write_text("{\n" + ",\n".join([*parts, f' "event_fields": {_line(EVENT_FIELDS)}']) + f',\n "runs": [\n{runs}\n ]\n}}\n')


def _run_text(run: dict[str, Any]) -> str:
    lines = ",\n".join(f"    {_line(event)}" for event in run["events"])
    rest = "".join(f',\n   "{key}": {_line(run[key])}' for key in ("columns", "state"))
    return f'  {{"run_id": "{run["run_id"]}",\n   "events": [\n{lines}\n   ]{rest}}}'


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def main() -> None:
    """Record every scene into the folder of this release. Refuses to touch one that is there."""
    folder = HERE / f"v{'.'.join(VERSION.split('.')[:2])}"
    if list(folder.glob("*.json")):
        sys.exit(f"{folder.name} is recorded already: a released journal is never recorded again")
    folder.mkdir(exist_ok=True)
    with a_page() as port:
        for scene in SCENES:
            with tempfile.TemporaryDirectory() as home:
                golden = await record(scene, port, Path(home))
            write(folder / f"{scene.__name__}.json", golden)
            sys.stdout.write(f"{scene.__name__}: {len(golden['runs'])} runs, {sum(len(run['events']) for run in golden['runs'])} events\n")


if __name__ == "__main__":
    asyncio.run(main())
