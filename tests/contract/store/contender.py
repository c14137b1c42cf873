"""One process of a fight: `python contender.py URL fight OWNER RIVAL` or `python contender.py URL write RUN NAME COUNT`.

It says `ready`, waits for a line, does its part, and says `done`.
"""

import asyncio
import sys
import time

from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.store.open import Store, open_store
from runtime.store.protocol import Append, Claim, Message, MessageKind, OwnerRow, SendOutcome


def now() -> int:
    return time.time_ns() // 1_000_000


def to_the_end(claim: Claim) -> Append:
    """A turn that starts the run if nobody has, and ends it."""
    row, events = claim.row, claim.events or ()
    started = any(event.kind is Kind.RUN_STARTED for event in events)
    kinds = ([] if started else [Kind.RUN_STARTED]) + [Kind.RUN_SUCCEEDED]
    made = tuple(Event(row.head + place, row.epoch, kind, now()) for place, kind in enumerate(kinds, 1))
    return Append(row.run_id, row.epoch, row.head, made, RunStatus.SUCCEEDED, ended_at=made[-1].at)


async def fight(store: Store, owner: str, rival: str) -> None:
    """Claim and end runs until none is left, taking the rival for dead all the while."""
    await store.journal.register(OwnerRow(owner, 0, now(), "machine", owner, "0.1.0"))
    while await store.journal.active_runs():
        claims = await store.journal.claim(owner, 5, dead=[rival], now=now())
        await asyncio.gather(*(store.journal.append(to_the_end(claim)) for claim in claims))


async def write(store: Store, run_id: str, name: str, count: str) -> None:
    """Send messages one by one, as fast as the database takes them."""
    for number in range(int(count)):
        outcome = await store.journal.send(Message(run_id, f"{name}:{number}", MessageKind.SIGNAL, {"name": name}, now()))
        assert outcome is SendOutcome.ACCEPTED


async def main(url: str, part: str, *arguments: str) -> None:
    store = await open_store(url, migrate=False)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await {"fight": fight, "write": write}[part](store, *arguments)
    await store.close()
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
