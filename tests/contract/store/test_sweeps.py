"""Small rows that have had their time: keys, tickets, versions of deleted workflows."""

from dataclasses import replace

import pytest
from sqlalchemy import func, select

from runtime.artifacts.local import LocalArtifacts
from runtime.engine.events import Kind
from runtime.retention.janitor import KEY_MS, TICKET_MS, WORKFLOW_MS, Janitor
from runtime.retention.rules import DAY_MS
from runtime.settings import Retention, Settings
from runtime.store.catalog_protocol import DefinitionRow, KeyRow
from runtime.store.fsck import fsck
from runtime.store.open import Store
from runtime.store.tables import idem
from tests.contract.store.desk import TENANT, Desk, key, new_run, tick


class Clock:
    """Says what time it is told to say."""

    def __init__(self) -> None:
        self.time = tick()

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.time / 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def janitor(store: Store, tmp_path, clock: Clock):
    artifacts = LocalArtifacts(tmp_path)
    yield Janitor(store.retention, artifacts, Settings(home=tmp_path, retention=Retention(succeeded=1)), clock, pause=0)
    artifacts.close()


async def keys_left(store: Store) -> int:
    return await store.reader.read(lambda connection: connection.scalar(select(func.count()).select_from(idem)))


async def test_idempotency_keys_go_when_they_have_expired(store: Store, desk: Desk, janitor: Janitor, clock: Clock):
    for n in range(300):
        await desk.journal.submit([new_run(key=key(f"old {n}", expires_at=clock.time + 5))])
    await desk.journal.submit([new_run(key=key("young", expires_at=clock.time + 50))])
    await janitor.round()
    assert await keys_left(store) == 301
    clock.time += 5
    await janitor.round()
    assert await keys_left(store) == 1
    assert await fsck(store) == []


async def test_keys_stay_visible_for_a_time_and_tickets_do_not(store: Store, janitor: Janitor, clock: Clock):
    now = clock.time
    row = KeyRow("k", TENANT, "key", b"x" * 32, ("read",), now)
    rows = {
        "valid": row,
        "expires later": replace(row, expires_at=now + 2 * KEY_MS),
        "expired": replace(row, expires_at=now),
        "revoked": replace(row, revoked_at=now),
        "ticket": replace(row, expires_at=now, scopes=("events:r",)),
        "used ticket": replace(row, expires_at=now, revoked_at=now, scopes=("events:r",)),
    }
    for name, each in rows.items():
        await store.catalog.put_key(replace(each, key_id=name))

    async def left(at: int) -> set[str]:
        clock.time = at
        await janitor.round()
        return {each.key_id for each in await store.catalog.keys(TENANT)}

    assert await left(now + TICKET_MS) == set(rows)
    assert await left(now + TICKET_MS + 1) == set(rows) - {"ticket", "used ticket"}
    assert await left(now + KEY_MS) == set(rows) - {"ticket", "used ticket"}
    assert await left(now + KEY_MS + 1) == {"valid", "expires later"}


async def test_versions_of_a_deleted_workflow_go_when_no_run_of_it_is_left(store: Store, desk: Desk, janitor: Janitor, clock: Clock):
    for workflow, digest in (("brief", "d1"), ("brief", "d2"), ("other", "d3")):
        await store.catalog.publish(DefinitionRow(TENANT, workflow, digest, {"name": workflow}, clock.time, 0))
    hand = await desk.hold()  # a run of `brief`
    await store.catalog.delete(TENANT, "brief", clock.time)
    clock.time += 2 * WORKFLOW_MS
    await janitor.round()
    assert await store.catalog.definition(TENANT, "d1") is not None, "a run of it is still there"
    await hand.end(Kind.RUN_SUCCEEDED)
    clock.time += 2 * DAY_MS
    await janitor.round()
    assert await desk.journal.run(hand.run_id) is None
    assert [await store.catalog.definition(TENANT, digest) for digest in ("d1", "d2")] == [None, None]
    assert await store.catalog.definition(TENANT, "d3") is not None
    again = await store.catalog.publish(DefinitionRow(TENANT, "brief", "d1", {"name": "brief"}, clock.time, 0))
    assert again.version == 1


async def test_a_workflow_deleted_yesterday_keeps_its_versions(store: Store, janitor: Janitor, clock: Clock):
    await store.catalog.publish(DefinitionRow(TENANT, "brief", "d1", {"name": "brief"}, clock.time, 0))
    await store.catalog.delete(TENANT, "brief", clock.time)
    clock.time += DAY_MS
    await janitor.round()
    assert await store.catalog.definition(TENANT, "d1") is not None


async def test_a_round_goes_on_with_what_a_crash_has_left(store: Store, desk: Desk, janitor: Janitor):
    hand = await desk.hold()
    await hand.end()
    await store.retention.remove([hand.run_id])
    assert await desk.journal.events(hand.run_id) != []
    await janitor.round()
    assert await desk.journal.events(hand.run_id) == []
