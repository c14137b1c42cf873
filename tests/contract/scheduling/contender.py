"""One process that fires schedules until it is killed or told to stop: `python contender.py URL HOME`. Says `ready`, waits for a line, fires."""

import asyncio
import sys
from pathlib import Path

from runtime.clock import SystemClock
from runtime.settings import Settings
from runtime.store.open import open_store
from tests.contract.scheduling.bureau import Bureau


async def main(url: str, home: str) -> None:
    store = await open_store(url, migrate=False)
    bureau = Bureau(store, Settings(home=Path(home)), SystemClock())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    bureau.scheduler.start()
    await asyncio.to_thread(sys.stdin.readline)
    await bureau.scheduler.stop()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
