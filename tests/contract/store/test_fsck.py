"""fsck finds every kind of damage it knows, and nothing where there is none."""

import pytest
from sqlalchemy import Connection, delete, insert, text, update

from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.store.codec import event_row
from runtime.store.fsck import fsck
from runtime.store.operations import Work
from runtime.store.protocol import MessageKind
from runtime.store.tables import events, idem, outbox, runs
from tests.contract.store.desk import Desk, Hand, key, tick


async def lived_in(desk: Desk) -> Hand:
    """Runs in every state, one of them returned: it has events of a step."""
    hand = await desk.hold(key=key("k"))
    await hand.append((Kind.STEP_STARTED, {"step": "a#0", "attempt": 1}), (Kind.STEP_SUCCEEDED, {"step": "a"}))
    for kind in (Kind.RUN_SUCCEEDED, Kind.RUN_FAILED):
        await (await desk.hold()).end(kind)
    await (await desk.hold()).wait(wake_at=1 << 45)
    canceled = await desk.hold()
    await desk.send(canceled.run_id, MessageKind.CANCEL)
    await canceled.append((Kind.RUN_CANCELING, {}), status=RunStatus.CANCELING)
    await canceled.end(Kind.RUN_CANCELED)
    await desk.send(await desk.submit(), MessageKind.CANCEL)
    await desk.submit()
    return hand


async def spoil(desk: Desk, *statements: object) -> None:
    def execute(connection: Connection) -> None:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]

    await desk.store.writer.write(Work(execute))


async def test_a_healthy_store_has_no_findings(desk: Desk):
    await lived_in(desk)
    assert await fsck(desk.store) == []


def added(hand: Hand, kind: Kind, *, seq: int = 1, epoch: int | None = None, step: str | None = None) -> object:
    event = Event(hand.head + seq, hand.epoch if epoch is None else epoch, kind, tick(), step)
    return insert(events).values(event_row(hand.run_id, event))


def an_orphan(hand: Hand) -> object:
    """A delivery of an event that never happened."""
    return insert(outbox).values(
        id="o", run_id=hand.run_id, seq=99, endpoint_id="e", event="run.failed", payload="{}", state="pending", tries=0, next_at=0, created_at=0
    )


@pytest.mark.parametrize(
    ("spoiling", "invariant"),
    [
        (lambda hand: [added(hand, Kind.RUN_PAUSED, seq=2)], "I1"),
        (lambda hand: [added(hand, Kind.CALL_FINISHED, epoch=0)], "I2"),
        (lambda hand: [added(hand, Kind.RUN_CLAIMED)], "I2"),
        (lambda hand: [added(hand, Kind.RUN_SUCCEEDED), added(hand, Kind.RUN_PAUSED, seq=2)], "I3"),
        (lambda hand: [added(hand, Kind.STEP_RETRYING, step="a")], "I4"),
        (lambda hand: [update(events).where(events.c.run_id == hand.run_id, events.c.seq == 1).values(body="{}")], "I7"),
        (lambda hand: [update(runs).where(runs.c.run_id == hand.run_id).values(cancel_requested_at=1), added(hand, Kind.RUN_SUCCEEDED)], "I8"),
        (lambda hand: [update(runs).where(runs.c.run_id == hand.run_id).values(status="paused")], "I10"),
        (lambda hand: [update(runs).where(runs.c.run_id == hand.run_id).values(epoch=7)], "I10"),
        (lambda hand: [added(hand, Kind.RUN_WOKEN)], "I10"),
        (lambda hand: [update(idem).values(run_id="nowhere")], "I11"),
        (lambda hand: [an_orphan(hand)], "I12"),
        (lambda hand: [delete(runs).where(runs.c.run_id == hand.run_id)], "I7"),
        (lambda hand: [text("DELETE FROM owners")], "L1"),
    ],
)
async def test_damage_is_named(desk: Desk, spoiling, invariant: str):
    hand = await lived_in(desk)
    await spoil(desk, *spoiling(hand))
    findings = await fsck(desk.store)
    assert any(finding.startswith(f"{invariant} ") for finding in findings), findings
