"""`python -m tests.chaos.tools.rival URL NAME SECONDS`: a process that owns runs and is wrong about everybody else.

Every now and then it takes an owner that lives for dead and claims its runs, sometimes in the middle of that owner's work, and sometimes it
sleeps through its own lease first. An owner that was buried ends, as in production, and the next incarnation begins.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from runtime.artifacts.open import open_artifacts
from runtime.host import Host
from runtime.local import LocalExecutor, new_owner
from runtime.settings import Settings
from runtime.steps.context import StepServices
from runtime.store.open import Store, open_store

FREEZE = 0.1
"""How likely it is to sleep instead of being wrong."""


async def life(store: Store, name: str, settings: Settings, until: float, tally: Counter[str]) -> None:
    """One incarnation: until it is buried, or the time is over."""
    artifacts = open_artifacts(settings)
    executor = LocalExecutor(StepServices(settings, artifacts))
    host = Host(owner=new_owner(name), store=store, artifacts=artifacts, executor=executor, settings=settings)
    await host.start()
    tally["incarnations"] += 1
    closed = asyncio.create_task(host.wait_closed())
    while time.monotonic() < until and not closed.done():
        await asyncio.wait({closed}, timeout=random.uniform(0.05, 0.5))
        if random.random() < FREEZE:
            time.sleep(random.uniform(0.5, 1.5) * settings.lease_ms / 1000)  # noqa: ASYNC251 - the whole process stands still: that is the point
            tally["freezes"] += 1
            continue
        living = [row.owner for row in await store.journal.owners() if row.owner != host.owner]
        if living and not closed.done():
            host.owner_died(random.choice(living))
            tally["accusations"] += 1
    if not closed.done():
        await host.stop(2000)
    tally["buried"] += time.monotonic() < until
    closed.cancel()
    await executor.close()


async def main(url: str, name: str, seconds: float) -> None:
    settings = Settings(home=Path(tempfile.gettempdir()), python_modules=["tests.chaos.tools.work"], lease_ms=500, run_mode="live")
    store = await open_store(url, migrate=False)
    tally: Counter[str] = Counter()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await life(store, name, settings, until, tally)
    await store.close()
    print(*(f"{what}={count}" for what, count in tally.items()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
