"""Limits of concurrency under random histories from two stores at once: what must hold, holds at every commit."""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.errors import ConcurrencyLimit
from runtime.store.fsck import fsck
from runtime.store.open import Store, open_store
from runtime.store.protocol import AppendOutcome, MessageKind, NewRun, OwnerRow
from runtime.store.tables import runs
from tests.contract.store.desk import Desk, Hand, new_run, tick

_COLUMNS = (runs.c.run_id, runs.c.slot_group, runs.c.slot_key, runs.c.slot_limit, runs.c.slot_per_key, runs.c.slot_held, runs.c.cancel_requested_at)
GROUPS: dict[str, tuple[int | None, int | None]] = {"wide": (3, None), "fair": (2, 1), "keys": (None, 2)}

submits = st.tuples(
    st.just("submit"),
    st.sampled_from(sorted(GROUPS)),
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 2),
    st.sampled_from(["queue", "queue", "reject", "cancel_old", "cancel_new"]),
    st.integers(1, 3),
)
acts = st.one_of(submits, st.tuples(st.just("end"), st.integers(0, 9)), st.tuples(st.just("cancel"), st.integers(0, 9)), st.tuples(st.just("die")))
histories = st.lists(st.lists(acts, min_size=1, max_size=5), min_size=1, max_size=8)


class Machine:
    """Two processes on one database; `rounds` of acts at once, and a look at everything in between."""

    def __init__(self, stores: tuple[Store, Store]) -> None:
        self.stores = stores
        self.desk = Desk(stores[0])
        self.owned: dict[str, Hand] = {}
        self.known: list[str] = []
        self.owners = 0

    def act(self, place: int, act: tuple[Any, ...]) -> Coroutine[Any, Any, None]:
        store = self.stores[place % 2]
        if act[0] == "submit":
            return self.submit(store, *act[1:])
        if act[0] == "end":
            return self.end(act[1])
        if act[0] == "cancel":
            return self.cancel(store, act[1])
        return self.die()

    async def submit(self, store: Store, group: str, key: str, priority: int, on_limit: str, count: int) -> None:
        limit, per_key = GROUPS[group]
        name, slot_key = (group, json.dumps(key)) if limit else (f"{group}/{key}", json.dumps(key))
        fields = {"slot_group": name, "slot_key": slot_key, "slot_limit": limit, "slot_per_key": per_key, "slot_on_limit": on_limit, "slot_held": False}
        made: list[NewRun] = [new_run(priority=priority, **fields) for _ in range(count)]
        try:
            await store.journal.submit(made)
        except ConcurrencyLimit:
            assert on_limit == "reject"
            assert [await store.journal.run(run.row.run_id) for run in made] == [None] * count
        else:
            self.known += [run.row.run_id for run in made]

    async def claim(self) -> None:
        """Let the first store's owner take everything that may be taken; it must have a slot, or a cancel."""
        owner = f"owner-{self.owners}"
        await self.stores[0].journal.register(OwnerRow(owner, 0, tick(), "machine", owner, "0"))
        for claim in await self.stores[0].journal.claim(owner, 100, now=tick()):
            assert claim.row.slot_held
            hand = Hand(self.stores[len(self.owned) % 2], claim.row)
            if claim.row.status is RunStatus.QUEUED:
                await hand.start()
            self.owned[claim.row.run_id] = hand

    async def end(self, number: int) -> None:
        if not self.owned:
            return
        run_id = sorted(self.owned)[number % len(self.owned)]
        hand = self.owned.pop(run_id)
        row = await self.desk.run(run_id)
        if row.cancel_requested_at is not None:
            outcome = await hand.append((Kind.RUN_CANCELING, {}), (Kind.RUN_CANCELED, {}), status=RunStatus.CANCELED)
        else:
            outcome = await hand.end()
        if outcome is AppendOutcome.CANCEL_FIRST:
            self.owned[run_id] = hand

    async def cancel(self, store: Store, number: int) -> None:
        if self.known:
            await Desk(store).send(self.known[number % len(self.known)], MessageKind.CANCEL, message_id="cancel")

    async def die(self) -> None:
        """The owner is gone; the next claim is somebody else's."""
        dead, self.owners = f"owner-{self.owners}", self.owners + 1
        self.owned.clear()
        await self.stores[1].journal.bury([dead], now=tick())

    async def check(self) -> None:
        """Nobody is beyond a limit, and nobody waits who would fit."""
        await self.stores[0].journal.grant_slots()  # whom a lock of the other store has hidden for a moment
        live = await self.stores[0].reader.read(_live)
        groups = Counter(row.slot_group for row in live if row.slot_held)
        lanes = Counter((row.slot_group, row.slot_key) for row in live if row.slot_held)
        for row in live:
            waits = not row.slot_held and row.cancel_requested_at is None
            in_group = row.slot_limit is None or groups[row.slot_group] < row.slot_limit
            in_lane = row.slot_per_key is None or lanes[row.slot_group, row.slot_key] < row.slot_per_key
            assert not (waits and in_group and in_lane), f"{row} waits although there is room"
            assert row.slot_limit is None or groups[row.slot_group] <= row.slot_limit
            assert row.slot_per_key is None or lanes[row.slot_group, row.slot_key] <= row.slot_per_key
        assert await fsck(self.stores[0]) == []


def _live(connection: Connection) -> list[Any]:
    return list(connection.execute(select(*_COLUMNS).where(runs.c.ended_at.is_(None), runs.c.slot_group.is_not(None))))


async def _play(url: str, history: list[list[tuple[Any, ...]]]) -> None:
    stores = await open_store(url), await open_store(url)
    try:
        machine = Machine(stores)
        await machine.desk.clear()
        for round_ in history:
            await asyncio.gather(*(machine.act(place, act) for place, act in enumerate(round_)))
            await machine.check()
            await machine.claim()
        while machine.owned or await stores[0].journal.active_runs():
            await machine.claim()
            for _ in range(len(machine.owned)):
                await machine.end(0)
            await machine.check()
        assert await stores[0].journal.active_runs() == 0, "everybody had a turn"
    finally:
        for store in stores:
            await store.close()


@pytest.mark.timeout(240)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories)
def test_whatever_happens_the_limits_hold_and_everybody_gets_a_turn(database_url: str, history: list[list[tuple[Any, ...]]]):
    asyncio.run(_play(database_url, history))
