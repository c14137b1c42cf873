"""Faults of the database and its disk under the whole platform: connections, restarts, locks, no room (F9 to F12)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.chaos.faults import Fault, Load, Scene, Site, register
from tests.chaos.handle import Role
from tests.chaos.tools.locks import held
from tests.chaos.tools.proxy import IN_COMMIT, Cut, PostgresProxy
from tests.chaos.tools.tmpfs import small_disk

TERMINATE = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'agentic-workflows' AND random() < 0.3"
IN_COMMIT_SHARE = 0.3
RESTARTS = ("fast", "immediate", "kill")
RESUME_SECONDS = 15.0


@asynccontextmanager
async def through_proxy(site: Site) -> AsyncIterator[None]:
    """The platform reaches PostgreSQL by way of a proxy that can cut and delay; SQLite stays as it is."""
    if site.postgres is None:
        yield
        return
    with PostgresProxy("127.0.0.1", site.postgres.port, seed=site.rng.randrange(2**32)) as proxy:
        parts = urlsplit(site.settings["database_url"])
        site.settings["database_url"] = f"{site.postgres.url(parts.path.lstrip('/'), port=proxy.port)}?ssl=disable"
        site.things["proxy"] = proxy
        yield


@asynccontextmanager
async def on_small_disk(site: Site) -> AsyncIterator[None]:
    """The database lies on a disk of 64 MB, which the trial fills."""
    with small_disk(site.folder / "disk") as disk:
        site.settings["database_url"] = f"sqlite:///{disk.path / 'workflows.db'}"
        site.things["disk"] = disk
        yield


async def cut_connections(scene: Scene) -> None:
    """Cuts by chance in messages and around COMMIT, backends that are ended, now and then every connection at once."""
    proxy: PostgresProxy = scene.site.things["proxy"]
    assert scene.site.postgres is not None
    proxy.chances = {Cut.ANYWHERE: 0.001, Cut.BEFORE_COMMIT: 0.02, Cut.COMMIT_SENT: 0.02, Cut.COMMIT_LOST: 0.02}
    seen = 0
    while scene.done < scene.count or sum(proxy.counts[cut] for cut in IN_COMMIT) < scene.count * IN_COMMIT_SHARE:
        await scene.pause(0.2, 1)
        if scene.rng.random() < 0.1:
            await asyncio.to_thread(proxy.cut_all)
        if scene.rng.random() < 0.1:
            ended = (await scene.site.postgres.execute(TERMINATE))[0][0]
            scene.record("pg_terminate_backend", backends=ended)
        for record in proxy.records[seen:]:
            scene.record(record.cut)
        seen = len(proxy.records)
    proxy.chances = {}
    scene.notes["cuts"] = dict(proxy.counts)


async def restart_database(scene: Scene) -> None:
    """A restart about every five seconds, in every way. No process of ours may need one, so each must be the one it was before."""
    postgres = scene.site.postgres
    assert postgres is not None
    before = {proc.pid for proc in await scene.platform.procs(Role.WORKFLOW, Role.AGENT, Role.SUPERVISOR, Role.REPLICA)}
    away: list[float] = []
    while scene.done < scene.count:
        await scene.pause(3, 7)
        how = RESTARTS[scene.done % len(RESTARTS)]
        away.append(await postgres.restart(how))
        scene.record(f"restart {how}", away=round(away[-1], 2))
    scene.notes["longest_away"] = round(max(away, default=0.0), 2)
    after = {proc.pid for proc in await scene.platform.procs(Role.WORKFLOW, Role.AGENT, Role.SUPERVISOR, Role.REPLICA)}
    if before - after:
        scene.violations.append(f"F10 processes {sorted(before - after)} did not outlive the restarts of the database")


async def hold_locks(scene: Scene) -> None:
    """Locks held from outside and slow answers; one in ten lasts thirty seconds."""
    while scene.done < scene.count:
        await scene.pause(0.5, 2)
        seconds = 30.0 if scene.done % 10 == 5 else scene.rng.uniform(0.5, 5)
        await _hold(scene, seconds)


async def _hold(scene: Scene, seconds: float) -> None:
    site, odd = scene.site, scene.done % 2 == 1
    if site.postgres is None:
        lock, what = ("exclusive" if odd else "turn"), site.settings["database_url"].removeprefix("sqlite:///")
    elif odd:
        lock, what = "tables", site.postgres.url(urlsplit(site.settings["database_url"]).path.lstrip("/"), driver="")
    else:
        proxy: PostgresProxy = site.things["proxy"]
        proxy.delay = scene.rng.uniform(0.1, 5)
        scene.record("slow", seconds=seconds, delay=proxy.delay)
        await asyncio.sleep(seconds)
        proxy.delay = 0
        return
    with held(lock, what):
        scene.record(f"lock {lock}", seconds=seconds)
        await asyncio.sleep(seconds)


async def fill_disk(scene: Scene) -> None:
    """The disk is full for some seconds: reads go on, writes are refused with "later", readiness says no; then all resumes by itself."""
    disk = scene.site.things["disk"]
    while scene.done < scene.count:
        await scene.pause(2, 5)
        await asyncio.to_thread(disk.fill)
        scene.record("disk full")
        await _becomes(scene, "/readyz", 503, "while the disk is full")
        await _becomes(scene, "/livez", 200, "while the disk is full")
        await _becomes(scene, "/v1/runs", 200, "while the disk is full")
        await scene.pause(0.5, 3)
        disk.empty()
        await _becomes(scene, "/readyz", 200, "after there is room again")


async def _becomes(scene: Scene, path: str, wanted: int, when: str) -> None:
    """A violation unless a GET is answered so within some seconds."""
    found: set[Any] = set()
    for _ in range(int(RESUME_SECONDS / 0.25)):
        status = await _get(scene, path)
        if status == wanted:
            return
        found.add(status)
        await asyncio.sleep(0.25)
    scene.violations.append(f"F12 GET {path} {when}: {found} and never {wanted}")


def _get(scene: Scene, path: str) -> Awaitable[int]:
    """One try, past the driver's patience."""
    import httpx2

    headers = {"Authorization": f"Bearer {scene.platform.key}"}
    return asyncio.to_thread(lambda: httpx2.get(scene.platform.api + path, headers=headers, timeout=10, trust_env=False).status_code)


_AWAY = Load(rate=5.0)
_MANY = Load(runs_per_injection=2)

register(
    Fault("F9", "connections to the database break, also during COMMIT", cut_connections, 60, 2000, ("postgresql",), _MANY, around=through_proxy, shard=250)
)
register(Fault("F10", "the database server is stopped and killed", restart_database, 6, 300, ("postgresql",), _AWAY, shard=50, least_share=0.5))
register(Fault("F11", "the database is locked or slow", hold_locks, 6, 100, load=_AWAY, around=through_proxy, shard=20, least_share=0.5))
register(Fault("F12", "the disk of the database is full", fill_disk, 4, 50, ("sqlite",), _AWAY, around=on_small_disk, shard=25, least_share=0.5))
