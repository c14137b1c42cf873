"""Disks that are full, and power that goes at the worst moment (F12, F13). The database is SQLite: one process, traced system call by system call."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx2

from tests.chaos.alone.load import SUM, judge
from tests.chaos.alone.stage import Stage, stage
from tests.chaos.alone.trials import Verdict, trial
from tests.chaos.tools.singles import Single
from tests.chaos.tools.strace import available, failing, injected, kill_at, recorded
from tests.chaos.tools.tmpfs import may_mount, small_disk
from tests.chaos.tools.trace import SYSCALLS
from tests.chaos.tools.trace import judge as judge_trace

RESUME_SECONDS = 10.0
"""After space has come back, writes and readiness must have too."""


class CannotTryError(RuntimeError):
    """This machine lacks what the trial needs."""


def _need(found: bool, what: str) -> None:
    if not found:
        raise CannotTryError(f"this trial needs {what}")


async def _status(at: Stage, method: str, path: str, **more: object) -> int:
    answer = await at.client.once(method, path, **more)
    return 0 if answer is None else answer.status_code


async def _becomes(at: Stage, what: str, asked: Callable[[], object], wanted: int, seconds: float = RESUME_SECONDS) -> None:
    """A violation unless the answer becomes this within the time."""
    deadline, seen = time.monotonic() + seconds, set()
    while time.monotonic() < deadline:
        status = await asked()  # type: ignore[misc]  # a coroutine function
        if status == wanted:
            return
        seen.add(status)
        await asyncio.sleep(0.1)
    at.told.violations.append(f"{what}: never {wanted} in {seconds:g} s, but {seen}")


async def _refused(at: Stage, run_id: str) -> None:
    """What must hold while nothing can be written."""

    async def write() -> int:
        return await _status(at, "POST", "/v1/workflows/sum/runs", json={"inputs": {"n": 1}})

    await _becomes(at, "a write while the disk is full", write, 503)
    await _becomes(at, "/readyz while the disk is full", lambda: _status(at, "GET", "/readyz"), 503)
    for path in ("/livez", f"/v1/runs/{run_id}", f"/v1/runs/{run_id}/events", "/v1/runs"):
        status = await _status(at, "GET", path)
        if status != 200:
            at.told.violations.append(f"GET {path} while the disk is full: {status}")


async def _resumed(at: Stage) -> None:
    await _becomes(at, "/readyz after space came back", lambda: _status(at, "GET", "/readyz"), 200)
    began = time.monotonic()
    await at.client.ended(await at.client.start(7), RESUME_SECONDS * 2)
    at.notes["slowest_resume"] = max(at.notes.get("slowest_resume", 0.0), round(time.monotonic() - began, 2))


def _integrity(at: Stage) -> None:
    with closing(sqlite3.connect(at.url.removeprefix("sqlite:///"))) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    if found != ["ok"]:
        at.told.violations.append(f"integrity_check: {found}")


async def _verdict(at: Stage, name: str, wanted: int, done: int) -> Verdict:
    await judge(at.client)
    await asyncio.to_thread(at.servers[0].stop)
    _integrity(at)
    await at.check()
    notes = {**at.notes, "runs": len(at.told.acknowledged), "statuses": dict(at.told.statuses), "slowest": round(at.told.slowest, 2)}
    return Verdict(name, at.database, wanted, done, at.told.violations, notes)


@trial("F12", "the disk of the database is full", bar=50, databases=("sqlite",))
async def full_disk(folder: Path, database: str, count: int) -> Verdict:
    """A tmpfs is filled and freed `count` times while runs are under way."""
    _need(may_mount(), "the right to mount a tmpfs")
    with small_disk(folder / "home") as disk:
        async with stage(folder, database, environment={"AGENTIC_DRAIN_MS": "1000"}) as at:
            await at.client.call("PUT", "/v1/workflows/sum", json=SUM, wanted=(200, 201))
            for _ in range(count):
                run_id, *_rest = [await at.client.start(n) for n in range(5)]
                await asyncio.to_thread(disk.fill)
                await _refused(at, run_id)
                disk.empty()
                await _resumed(at)
            return await _verdict(at, "F12", count, count)


@trial("F12s", "every write position fails with ENOSPC", bar=200, databases=("sqlite",))
async def no_space_at(folder: Path, database: str, count: int) -> Verdict:
    """From the N-th pwrite64 of a thread on there is no space, for N = 1 … `count`; then there is again."""
    _need(available(), "strace")
    async with stage(folder, database) as at:
        await at.client.call("PUT", "/v1/workflows/sum", json=SUM, wanted=(200, 201))
        hits = 0
        for number in range(1, count + 1):
            run_id = await at.client.start(number)
            log = folder / "injected"
            with failing(at.servers[0], "pwrite64", "ENOSPC", f"{number}+", log):
                await _until_hit(at, log)
                await _refused(at, run_id)
            hits += injected(log) > 0
            await _resumed(at)
        return await _verdict(at, "F12s", count, hits)


async def _until_hit(at: Stage, log: Path) -> None:
    """Make the server write until a write has failed."""
    while not injected(log):
        await _status(at, "POST", "/v1/workflows/sum/runs", json={"inputs": {"n": 1}})


@trial("F13", "nothing is acknowledged before it is on disk", bar=1000, databases=("sqlite",))
async def power(folder: Path, database: str, count: int) -> Verdict:
    """`count` acknowledgements under load, each held against the recorded system calls."""
    _need(available(), "strace")
    recording = folder / "recording"
    async with stage(folder, database, prefix=recorded(recording, SYSCALLS)) as at:
        await at.client.call("PUT", "/v1/workflows/sum", json=SUM, wanted=(200, 201))
        gate = asyncio.Semaphore(16)

        async def one(n: int) -> None:
            async with gate:
                run_id = await at.client.start(n)
                if n % 5 == 0:
                    await at.client.call("POST", f"/v1/runs/{run_id}:cancel", wanted=(202, 409))
                    del at.told.acknowledged[run_id]

        await asyncio.gather(*(one(n) for n in range(count)))
        verdict = await _verdict(at, "F13", count, 0)
    with recording.open(errors="replace") as lines:
        seen = judge_trace(lines, "workflows.db-wal")
    verdict.done, verdict.violations = seen.acknowledgements, verdict.violations + seen.violations
    verdict.notes["syncs"] = seen.syncs
    return verdict


@trial("F13k", "the process dies at every fdatasync", bar=300, databases=("sqlite",))
async def killed_at(folder: Path, database: str, count: int) -> Verdict:
    """The server is killed at its N-th sync, N = 1 … `count`; whatever it acknowledged is there after the restart."""
    _need(available(), "strace")
    home, environment = folder / "home", {"DATABASE_URL": f"sqlite:///{folder / 'home' / 'db' / 'workflows.db'}"}
    killed = 0
    async with stage(folder, database) as at:
        await at.client.call("PUT", "/v1/workflows/sum", json=SUM, wanted=(200, 201))
        for number in range(1, count + 1):
            await at.kill(at.servers[0])
            doomed = Single(home, environment=environment, prefix=kill_at("fdatasync", number))
            killed += await asyncio.to_thread(_until_dead, doomed, at, number)
            await asyncio.to_thread(at.servers[0].start)
            for run_id in list(at.told.acknowledged)[-50:]:
                if await _status(at, "GET", f"/v1/runs/{run_id}") != 200:
                    at.told.violations.append(f"run {run_id} was acknowledged and is lost after the kill at sync {number}")
        return await _verdict(at, "F13k", count, killed)


def _until_dead(doomed: Single, at: Stage, number: int) -> bool:
    """Start runs from eight threads until the server dies; whether it did by the tracer's kill."""
    try:
        doomed.start()
    except RuntimeError:  # the sync came before it listened
        return True

    def ask(n: int) -> None:
        while doomed.alive:
            try:
                with doomed.client(timeout=10) as client:
                    while True:
                        answer = client.post("/v1/workflows/sum/runs", json={"inputs": {"n": n}})
                        if answer.status_code == 202:
                            at.told.acknowledged[answer.json()["run_id"]] = n
            except httpx2.TransportError:
                continue

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(number, number + 8)))
    return doomed.wait(30) != 0
