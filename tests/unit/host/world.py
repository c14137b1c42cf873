"""A real SQLite store and real hosts; only the steps' work is scripted."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from runtime.artifacts.open import open_artifacts
from runtime.clock import SystemClock
from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.host import Host
from runtime.ids import uuid7
from runtime.local import new_owner
from runtime.settings import Settings
from runtime.steps.protocol import Executor, StepCall, StepResult
from runtime.store.catalog_protocol import DefinitionRow
from runtime.store.open import Store, open_store
from runtime.store.protocol import Message, MessageKind, NewRun, RunRow

Work = Callable[[StepCall, Any], Awaitable[Any]]


def flow(**steps: Any) -> dict[str, Any]:
    """A definition of these steps."""
    return {"name": "a-flow", "steps": steps}


def python(**extra: Any) -> dict[str, Any]:
    """A step the hands carry out."""
    return {"python": {"function": "m:f"}, **extra}


async def echo(call: StepCall, item: Any) -> Any:
    """The default work: give back the item, or the step's name."""
    return call.step if item is None else item


class Hands(Executor):
    """Carries steps out by the scripted `work`; remembers what it was asked to do."""

    def __init__(self, work: Work = echo) -> None:
        self.work = work
        self.asked: list[tuple[str, int, int | None]] = []
        self.stopped: list[tuple[str, str | None]] = []

    async def execute(self, calls: Sequence[StepCall]) -> AsyncGenerator[list[StepResult], None]:
        jobs = [(call, item) for call in calls for item in (call.items if call.items is not None else (None,))]
        for done in asyncio.as_completed([asyncio.ensure_future(self._one(call, item)) for call, item in jobs]):
            yield [await done]

    async def _one(self, call: StepCall, item: Any) -> StepResult:
        attempt, index = (call.attempt, None) if item is None else (item.attempt, item.index)
        self.asked.append((call.step, attempt, index))
        try:
            output, error = await self.work(call, None if item is None else item.value), None
        except ValueError as failure:
            output, error = None, {"code": "exception", "message": str(failure), "retryable": True}
        return StepResult(call.run_id, call.epoch, call.step, attempt, call.iteration, index, output, error)

    async def cancel(self, run_id: str, step: str | None = None) -> None:
        self.stopped.append((run_id, step))


class Told:
    """Neighbours that only note what they are told."""

    def __init__(self) -> None:
        self.nudged: list[str] = []
        self.offered: list[str] = []

    def nudge(self, run_ids: Sequence[str]) -> None:
        self.nudged += run_ids

    def offer(self, run_ids: Sequence[str]) -> None:
        self.offered += run_ids


class World:
    """One database and as many hosts as a test wants."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.artifacts = open_artifacts(settings)
        self.hosts: list[Host] = []
        self.clock = SystemClock()

    async def host(self, hands: Executor, **changes: Any) -> Host:
        """Another host, started."""
        host = Host(
            owner=new_owner("test"),
            store=changes.pop("store", self.store),
            artifacts=self.artifacts,
            executor=hands,
            settings=self.settings,
            **changes,
        )
        self.hosts.append(host)
        await host.start()
        return host

    async def publish(self, document: dict[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
        await self.store.catalog.publish(DefinitionRow("default", document["name"], digest, document, self.clock.now(), 1))
        return digest

    async def submit(self, document: dict[str, Any], inputs: dict[str, Any] | None = None, **columns: Any) -> str:
        """Commit a run, as the gateway would; no host is told."""
        digest, now, run_id = await self.publish(document), self.clock.now(), uuid7()
        row = RunRow(run_id, "default", document["name"], digest, RunStatus.QUEUED, "live", 0, 1, now, wake_at=now, **columns)
        body = {"workflow": document["name"], "definition": digest, "inputs": inputs or {}, "mode": "live", "seed": 7, "labels": {}}
        await self.store.journal.submit([NewRun(row, (Event(1, 0, Kind.RUN_CREATED, now, body=body),))])
        return run_id

    async def send(self, run_id: str, kind: MessageKind, **body: Any) -> Any:
        return await self.store.journal.send(Message(run_id, uuid7(), kind, body, self.clock.now()))

    async def row(self, run_id: str) -> RunRow:
        row = await self.store.journal.run(run_id)
        assert row is not None
        return row

    async def until(self, run_id: str, condition: Callable[[RunRow], bool]) -> RunRow:
        """Wait until the run's row fulfils the condition."""
        async with asyncio.timeout(20):
            while not condition(row := await self.row(run_id)):  # noqa: ASYNC110 - the condition is in the database
                await asyncio.sleep(0.01)
        return row

    async def end(self, run_id: str) -> RunRow:
        return await self.until(run_id, lambda row: row.status.ended)

    async def kinds(self, run_id: str) -> list[str]:
        """The journal's kinds, after checking that it has no gap and at most one end, the last."""
        events = await self.store.journal.events(run_id)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        ends = [event.seq for event in events if event.kind in ("run.succeeded", "run.failed", "run.canceled")]
        assert ends in ([], [len(events)])
        assert [event.epoch for event in events] == sorted(event.epoch for event in events)
        return [event.kind.value for event in events]


@asynccontextmanager
async def a_world(path: Path, **settings: Any) -> AsyncGenerator[World, None]:
    """A world with its own database; every host in it is closed at the end."""
    chosen = Settings(home=path, **{"lease_ms": 400, **settings})
    store = await open_store(chosen.database)
    world = World(store, chosen)
    try:
        yield world
    finally:
        for host in world.hosts:
            await host.stop(0)
        await store.close()
