"""Deliveries: written with their events, taken by one sender at a time, in the order of each run."""

import asyncio
import json
from dataclasses import replace

import pytest
from sqlalchemy import delete, event, update

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.errors import LimitExceeded, PayloadTooLarge
from runtime.store.endpoints import MAX_ENDPOINTS
from runtime.store.fsck import fsck
from runtime.store.fsck_outbox import GRACE_MS
from runtime.store.open import Store
from runtime.store.operations import Work
from runtime.store.parcels import FAILING_MS
from runtime.store.protocol import AppendOutcome, MessageKind
from runtime.store.tables import events, outbox
from runtime.store.webhooks import DeliveryState
from tests.contract.store.desk import TENANT, Desk, tick
from tests.contract.store.faults import FailingCommit
from tests.contract.store.post_office import LEASE, an_endpoint, in_outbox, settle, subscribe, take

PENDING, DELIVERED, GIVEN_UP = DeliveryState
LATER = 1 << 45


async def test_an_event_and_its_delivery_are_one(desk: Desk, store: Store):
    endpoint = await subscribe(store)
    hand = await desk.hold(labels={"team": "blue"})
    await hand.append((Kind.STEP_STARTED, {"step": "a", "attempt": 1}), (Kind.STEP_FAILED, {"step": "a#0", "body": {"error": {"code": "boom"}}}))
    await hand.end()
    rows = await in_outbox(store)
    assert [(row.event, row.seq) for row in rows] == [("run.started", 3), ("step.failed", 5), ("run.succeeded", 6)]
    assert {(row.run_id, row.endpoint_id, row.state, row.tries) for row in rows} == {(hand.run_id, endpoint.endpoint_id, "pending", 0)}
    started, failed, ended = (json.loads(row.payload) for row in rows)
    about = {"run_id": hand.run_id, "workflow": "brief", "labels": {"team": "blue"}}
    assert started == {"type": "run.started", "timestamp": started["timestamp"], "data": {**about, "seq": 3, "status": "running"}}
    assert failed["data"] == {**about, "seq": 5, "status": "running", "step": "a", "error": {"code": "boom"}}
    assert ended["data"] == {**about, "seq": 6, "status": "succeeded", "output": 1}


async def test_a_refused_turn_tells_nobody(desk: Desk, store: Store):
    await subscribe(store)
    hand = await desk.hold()
    hand.epoch -= 1
    assert await hand.end() is AppendOutcome.FENCED
    assert [row.event for row in await in_outbox(store)] == ["run.started"]


async def test_a_queued_run_that_is_canceled_is_told(desk: Desk, store: Store):
    await subscribe(store)
    await desk.send(await desk.submit(), MessageKind.CANCEL, reason="enough")
    (row,) = await in_outbox(store)
    assert json.loads(row.payload)["data"] | {"run_id": ""} == {
        "run_id": "",
        "workflow": "brief",
        "labels": {},
        "seq": 2,
        "status": "canceled",
        "reason": "enough",
    }


async def test_only_who_wants_it_is_told(desk: Desk, store: Store):
    wanting = await subscribe(store, events=("run.succeeded", "run.failed"), workflows=("other", "brief"))
    await subscribe(store, events=("run.failed",))
    await subscribe(store, workflows=("other",))
    await subscribe(store, workflows=())
    await subscribe(store, tenant="somebody-else")
    await subscribe(store, disabled_at=1, disabled_reason="by hand")
    await (await desk.hold()).end()
    assert [(row.event, row.endpoint_id) for row in await in_outbox(store)] == [("run.succeeded", wanting.endpoint_id)]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_an_answer_lost_at_commit_doubles_nothing(desk: Desk, store: Store, cut: str):
    await subscribe(store)
    hand = await desk.hold()
    faults = FailingCommit(store)
    faults.plan = [cut]
    assert await hand.end() is AppendOutcome.COMMITTED
    assert faults.failed == 1
    assert [row.event for row in await in_outbox(store)] == ["run.started", "run.succeeded"]


async def test_what_nobody_wants_costs_one_look_and_what_no_event_demands_none(desk: Desk, store: Store):
    hand = await desk.hold()
    seen: list[str] = []
    event.listen(store.database.writer, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement))

    async def statements(*facts: tuple[Kind, dict]) -> list[str]:
        seen.clear()
        await hand.append(*facts)
        return [statement for statement in seen if "endpoints" in statement or "outbox" in statement]

    assert await statements((Kind.STEP_STARTED, {"step": "a", "attempt": 1}), (Kind.STEP_SUCCEEDED, {"step": "a"})) == []
    assert len(await statements((Kind.STEP_FAILED, {"step": "b", "body": {"error": {}}}))) == 1


async def test_values_are_bounded(desk: Desk, store: Store):
    await subscribe(store)
    hand = await desk.hold()
    body = {"approval_id": "a", "message": "x" * 70_000, "show": {"$artifact": {"sha256": "0" * 64}}, "expires_at": 1_700_000_000_000}
    await hand.append((Kind.APPROVAL_REQUESTED, {"step": "ask", "body": body}))
    data = json.loads((await in_outbox(store))[1].payload)["data"]
    assert data["omitted"] == ["message"]
    assert "message" not in data
    assert data["show"] == body["show"]
    assert data["expires_at"] == "2023-11-14T22:13:20.000Z"


async def test_no_value_is_nested_too_deeply_to_be_told_of(desk: Desk, store: Store):
    """Whatever the journal takes, the run goes on."""
    await subscribe(store)
    taken = 0
    for depth in range(180, 256):
        value: object = 1
        for _ in range(depth):
            value = [value]
        hand = await desk.hold()
        try:
            outcome = await hand.append((Kind.STEP_FAILED, {"step": "a", "body": {"error": {"details": value}}}))
        except PayloadTooLarge:
            continue
        assert outcome is AppendOutcome.COMMITTED
        taken += 1
    told = [json.loads(row.payload)["data"] for row in await in_outbox(store) if row.event == "step.failed"]
    assert len(told) == taken
    assert any("omitted" in data for data in told)
    assert any("error" in data for data in told)


async def test_two_senders_never_share_a_delivery(desk: Desk, store: Store, second: Store):
    endpoint = await subscribe(store)
    hands = [await desk.hold() for _ in range(30)]
    taken = []
    while any(batches := await asyncio.gather(*(take(each, endpoint, now=LATER, limit=3) for each in (store, second) * 2))):
        taken += [parcel.delivery for batch in batches for parcel in batch]
    assert len({delivery.id for delivery in taken}) == len(taken) == len(hands)
    assert {delivery.tries for delivery in taken} == {1}


async def test_a_lease_that_ends_lets_another_send_the_same_again(desk: Desk, store: Store, second: Store):
    endpoint = await subscribe(store)
    await desk.hold()
    (first,) = await take(store, endpoint, now=LATER)
    assert await take(second, endpoint, now=LATER + LEASE - 1) == []
    (again,) = await take(second, endpoint, now=LATER + LEASE)
    assert (again.delivery.id, again.delivery.payload, again.delivery.tries) == (first.delivery.id, first.delivery.payload, 2)
    await settle(store, first, PENDING, at=LATER + LEASE, next_at=5, error="late bad news")
    (row,) = await in_outbox(store)
    assert (row.state, row.error, row.next_at) == ("pending", None, LATER + 2 * LEASE)
    await settle(store, first, at=LATER + LEASE, answer=200)
    (row,) = await in_outbox(store)
    assert (row.state, row.answer, row.ended_at) == ("delivered", 200, LATER + LEASE)
    await settle(second, again, PENDING, at=LATER + LEASE, next_at=5)
    assert (await in_outbox(store))[0].state == "delivered"


async def test_the_events_of_one_run_go_out_one_after_the_other(desk: Desk, store: Store):
    endpoint = await subscribe(store)
    one, other = await desk.hold(), await desk.hold()
    await one.append((Kind.STEP_FAILED, {"step": "a", "body": {"error": {}}}))
    await one.end()
    batch = await take(store, endpoint, now=LATER)
    assert {(parcel.delivery.run_id, parcel.delivery.event) for parcel in batch} == {(one.run_id, "run.started"), (other.run_id, "run.started")}
    assert await store.outbox.due(LATER + 1) == [endpoint.endpoint_id] or await take(store, endpoint, now=LATER + 1) == []
    first = next(parcel for parcel in batch if parcel.delivery.run_id == one.run_id)
    await settle(store, first, PENDING, at=LATER, next_at=LATER + 5_000, answer=500)
    assert await take(store, endpoint, now=LATER + 4_999) == []
    (first,) = await take(store, endpoint, now=LATER + 5_000)
    await settle(store, first, GIVEN_UP, at=LATER + 6_000)
    (step,) = await take(store, endpoint, now=LATER + 6_000)
    assert step.delivery.event == "step.failed"
    await settle(store, step, at=LATER + 7_000)
    (end,) = await take(store, endpoint, now=LATER + 7_000)
    assert end.delivery.event == "run.succeeded"


async def test_what_waits_behind_another_is_not_looked_at_again_and_again(desk: Desk, store: Store):
    endpoint = await subscribe(store)
    hand = await desk.hold()
    await hand.end()
    (first,) = await take(store, endpoint, now=LATER)
    await take(store, endpoint, now=LATER)
    assert await store.outbox.due(LATER + LEASE - 1) == []
    await settle(store, first, PENDING, at=LATER, next_at=LATER + 10 * LEASE)
    assert await take(store, endpoint, now=LATER + LEASE) == []
    assert await store.outbox.due(LATER + 10 * LEASE - 1) == []


async def test_gone_disables_and_what_waits_rests(desk: Desk, store: Store):
    endpoint = await subscribe(store)
    await desk.hold()
    await desk.hold()
    parcel, _ = await take(store, endpoint, now=LATER)
    await settle(store, parcel, GIVEN_UP, at=LATER, answer=410, disable="the receiver is gone (410)")
    row = await store.outbox.endpoint(TENANT, endpoint.endpoint_id)
    assert row is not None
    assert (row.disabled_at, row.disabled_reason) == (LATER, "the receiver is gone (410)")
    assert await store.outbox.due(LATER * 2) == []
    assert await take(store, endpoint, now=LATER * 2) == []
    await store.outbox.change(TENANT, endpoint.endpoint_id, {"disabled_at": None, "disabled_reason": None})
    assert len(await take(store, endpoint, now=LATER * 2)) == 1


async def test_five_days_without_a_delivery_disable(desk: Desk, store: Store):
    endpoint = await subscribe(store)
    hands = [await desk.hold() for _ in range(4)]
    assert hands
    now = LATER
    (parcel, well, *_) = await take(store, endpoint, now=now)

    async def disabled() -> bool:
        row = await store.outbox.endpoint(TENANT, endpoint.endpoint_id)
        return row is not None and row.disabled_at is not None

    await settle(store, parcel, PENDING, at=now, next_at=now)
    await settle(store, well, at=now + 1)
    for at in (now + 2, now + FAILING_MS + 1):
        (parcel,) = await take(store, endpoint, now=at + LEASE, limit=1)
        await settle(store, parcel, PENDING, at=at, next_at=at)
        assert not await disabled()
    (parcel,) = await take(store, endpoint, now=now + FAILING_MS * 2, limit=1)
    await settle(store, parcel, PENDING, at=now + FAILING_MS + 2, next_at=now)
    assert await disabled()


async def test_an_untried_delivery_counts_no_try_and_blames_nobody(desk: Desk, store: Store):
    endpoint = await subscribe(store)
    await desk.hold()
    (parcel,) = await take(store, endpoint, now=LATER)
    await settle(store, parcel, PENDING, at=LATER, next_at=LATER + 1, error="no key", untried=True)
    (row,) = await in_outbox(store)
    assert (row.tries, row.next_at, row.error) == (0, LATER + 1, "no key")
    found = await store.outbox.endpoint(TENANT, endpoint.endpoint_id)
    assert found is not None
    assert found.failing_since is None


async def test_deliveries_are_listed_and_sent_again(desk: Desk, store: Store):
    endpoint = await subscribe(store)
    hands = [await desk.hold() for _ in range(3)]
    (parcel, *_) = await take(store, endpoint, now=LATER)
    await settle(store, parcel, at=LATER, answer=204)
    listed = await store.outbox.deliveries(endpoint.endpoint_id)
    assert {row.run_id for row in listed} == {hand.run_id for hand in hands}
    assert [row.id for row in listed] == sorted((row.id for row in listed), reverse=True)
    assert {row.payload for row in listed} == {""}
    assert await store.outbox.deliveries(endpoint.endpoint_id, before=listed[0].id) == listed[1:]
    assert [row.id for row in await store.outbox.deliveries(endpoint.endpoint_id, state="delivered")] == [parcel.delivery.id]
    again = await store.outbox.redeliver(endpoint.endpoint_id, parcel.delivery.id, LATER + 1)
    assert again is not None
    assert (again.state, again.tries, again.next_at, again.payload) == (PENDING, 0, LATER + 1, parcel.delivery.payload)
    assert await store.outbox.redeliver("elsewhere", parcel.delivery.id, 1) is None


async def test_rotation_keeps_the_secret_before(store: Store):
    endpoint = await subscribe(store)
    rotated = await store.outbox.rotate(TENANT, endpoint.endpoint_id, "new", until=9)
    assert rotated == replace(endpoint, secret="new", previous_secret="sealed", previous_until=9)
    assert await store.outbox.rotate("other", endpoint.endpoint_id, "x", until=9) is None


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_an_answer_lost_while_endpoints_change_leaves_what_was_asked_for(store: Store, cut: str):
    faults = FailingCommit(store)
    faults.plan = [cut]
    endpoint = await subscribe(store)
    faults.plan = [cut]
    rotated = await store.outbox.rotate(TENANT, endpoint.endpoint_id, "new", until=9)
    assert faults.failed == 2
    assert rotated == replace(endpoint, secret="new", previous_secret="sealed", previous_until=9)
    assert await store.outbox.endpoints(TENANT) == [rotated]


async def test_endpoints_are_bounded_and_belong_to_one_tenant(store: Store):
    rows = [await subscribe(store, workflows=("a",)) for _ in range(MAX_ENDPOINTS)]
    with pytest.raises(LimitExceeded):
        await store.outbox.add(an_endpoint())
    assert await store.outbox.endpoints(TENANT) == rows
    assert await store.outbox.endpoint("other", rows[0].endpoint_id) is None
    assert not await store.outbox.remove("other", rows[0].endpoint_id)
    assert await store.outbox.change("other", rows[0].endpoint_id, {"url": "x"}) is None
    assert await store.outbox.remove(TENANT, rows[0].endpoint_id)
    assert await store.outbox.endpoints(TENANT) == rows[1:]


async def test_pruning_takes_what_is_long_over_in_small_bites(desk: Desk, store: Store):
    kept, gone = await subscribe(store), await subscribe(store)
    for _ in range(3):
        await desk.hold()
    for parcel in await take(store, kept, now=LATER):
        await settle(store, parcel, at=LATER)
    assert await store.outbox.prune(LATER, 100) == 0
    assert [await store.outbox.prune(LATER + 1, 2) for _ in range(3)] == [2, 1, 0]
    await store.outbox.remove(TENANT, gone.endpoint_id)
    assert [await store.outbox.prune(LATER + 1, 2) for _ in range(3)] == [2, 1, 0]
    assert await in_outbox(store) == []
    assert await fsck(store) == []


async def lived_in(desk: Desk, store: Store) -> None:
    """An endpoint that has long been there, and two runs."""
    await subscribe(store, since=tick() - 2 * GRACE_MS)
    await (await desk.hold()).end()
    await desk.send(await desk.submit(), MessageKind.CANCEL)


@pytest.mark.parametrize(
    "spoiling",
    [
        delete(outbox).where(outbox.c.event == "run.started"),
        delete(outbox).where(outbox.c.event == "run.canceled"),
        delete(events).where(events.c.kind == "run.succeeded"),
        update(outbox).where(outbox.c.event == "run.succeeded").values(event="run.failed"),
    ],
    ids=["a missing one", "a missing cancel", "a missing event", "another kind"],
)
async def test_fsck_compares_events_and_deliveries(desk: Desk, store: Store, spoiling):
    await lived_in(desk, store)
    assert await fsck(store) == []
    await store.writer.write(Work(lambda connection: connection.execute(spoiling) and None))
    assert any(finding.startswith("I12 ") for finding in await fsck(store))


async def test_fsck_asks_nothing_of_endpoints_that_came_later_or_are_off(desk: Desk, store: Store):
    await (await desk.hold()).end()
    await subscribe(store)
    await subscribe(store, since=0, disabled_at=1, disabled_reason="x")
    await subscribe(store, since=0, tenant="other")
    await subscribe(store, since=0, events=("step.failed",))
    await subscribe(store, since=0, pruned_before=tick())
    assert await fsck(store) == []


async def test_a_run_that_waits_says_for_what(desk: Desk, store: Store):
    await subscribe(store, events=("run.waiting",))
    hand = await desk.hold()
    await hand.wait()
    (row,) = await in_outbox(store)
    assert json.loads(row.payload)["data"]["waiting_for"] == "timer"
    assert json.loads(row.payload)["data"]["status"] == RunStatus.WAITING
