"""Databases that break: connections, servers, locks (F9, F10, F11)."""

import asyncio
import random
import time
from pathlib import Path

from tests.chaos.alone.load import Load, judge
from tests.chaos.alone.stage import Stage, stage
from tests.chaos.alone.trials import Verdict, trial
from tests.chaos.tools.locks import held
from tests.chaos.tools.proxy import IN_COMMIT, Cut

TERMINATE = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'agentic-workflows' AND random() < 0.5"
LEASE = {"AGENTIC_LEASE_MS": "3000"}
"""The product's default."""
HOWS = ("fast", "immediate", "kill")


async def _verdict(at: Stage, name: str, wanted: int, done: int) -> Verdict:
    """Wait for all that was acknowledged, and look at everything."""
    await judge(at.client)
    await at.check()
    if any(server.starts != 1 or not server.alive for server in at.servers):
        at.told.violations.append("a server did not outlive the faults of its database")
    starts = {server.port: server.starts for server in at.servers}
    notes = {**at.notes, "runs": len(at.told.acknowledged), "statuses": dict(at.told.statuses), "slowest": round(at.told.slowest, 2), "starts": starts}
    return Verdict(name, at.database, wanted, done, at.told.violations, notes)


@trial("F9", "connections to the database break, also during COMMIT", bar=2000, databases=("postgresql",))
async def cuts(folder: Path, database: str, count: int) -> Verdict:
    """`count` cuts, at least three in ten of them in a COMMIT; backends are terminated besides."""
    async with stage(folder, database, servers=2, proxied=True, environment=LEASE) as at:
        proxy, postgres = at.proxy, at.postgres
        assert proxy is not None
        assert postgres is not None
        async with Load(at.client, width=12):
            proxy.chances = {Cut.ANYWHERE: 0.001, Cut.BEFORE_COMMIT: 0.03, Cut.COMMIT_SENT: 0.03, Cut.COMMIT_LOST: 0.03}
            terminated = 0
            while len(proxy.records) < count or sum(proxy.counts[cut] for cut in IN_COMMIT) < count * 0.3:
                await asyncio.sleep(random.uniform(0.2, 1))
                if random.random() < 0.1:
                    await asyncio.to_thread(proxy.cut_all)
                if random.random() < 0.1:
                    terminated += (await postgres.execute(TERMINATE))[0][0]
            proxy.chances = {}
        at.notes = {"cuts": dict(proxy.counts), "terminated": terminated, "restarts": [server.starts for server in at.servers]}
        return await _verdict(at, "F9", count, len(proxy.records))


@trial("F10", "the database server is stopped and killed", bar=300, databases=("postgresql",))
async def restarts(folder: Path, database: str, count: int) -> Verdict:
    """A restart about every five seconds; no process of ours may need one."""
    async with stage(folder, database, servers=2, environment=LEASE) as at:
        postgres = at.postgres
        assert postgres is not None
        away: list[float] = []
        async with Load(at.client, width=8):
            for place in range(count):
                await asyncio.sleep(random.uniform(2, 6))
                away.append(await postgres.restart(HOWS[place % len(HOWS)]))
        at.notes = {"longest_away": round(max(away), 2)}
        return await _verdict(at, "F10", count, len(away))


@trial("F11", "the database is locked or slow", bar=100)
async def locks(folder: Path, database: str, count: int) -> Verdict:
    """Locks held by others for up to 15 seconds, and answers that take long; clients are told "later", or wait, and never of a lock."""
    async with stage(folder, database, servers=2, proxied=True, environment=LEASE) as at:
        waits: list[float] = []
        async with Load(at.client, width=8):
            for place in range(count):
                await asyncio.sleep(random.uniform(0.5, 1.5))
                seconds = 15 if place % 10 == 5 else random.uniform(0.5, 4)
                began = time.monotonic()
                await _lock(at, place, seconds)
                waits.append(time.monotonic() - began)
        at.notes = {"longest_lock": round(max(waits), 2)}
        return await _verdict(at, "F11", count, len(waits))


async def _lock(at: Stage, place: int, seconds: float) -> None:
    if at.database == "sqlite":
        path = at.url.removeprefix("sqlite:///")
        with held("exclusive" if place % 2 else "turn", path):
            await asyncio.sleep(seconds)
    elif place % 2:
        with held("tables", at.url):
            await asyncio.sleep(seconds)
    else:
        assert at.proxy is not None
        at.proxy.delay = random.uniform(0.1, 5)
        await asyncio.sleep(seconds)
        at.proxy.delay = 0
