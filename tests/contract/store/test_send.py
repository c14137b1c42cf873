"""Send: anybody's word to a run is kept once, in order, and an accepted cancel or decision cannot be lost."""

import asyncio
from dataclasses import replace

from runtime.engine.events import Kind
from runtime.engine.states import RunStatus
from runtime.store.open import Store
from runtime.store.protocol import AppendOutcome, ApprovalQuery, ApprovalRow, MessageKind, SendOutcome
from tests.contract.store.desk import TENANT, Desk, Hand, message, tick

ACCEPTED, ENDED, MISSING = SendOutcome.ACCEPTED, SendOutcome.ENDED, SendOutcome.MISSING


async def test_messages_reach_the_owner_in_order_until_they_are_applied(desk: Desk):
    hand = await desk.hold()
    sent = [replace(message(hand.run_id, n=n), at=1000) for n in range(5)]
    for each in sent:
        assert await desk.journal.send(each) is ACCEPTED
    assert await desk.journal.inbox("host-1") == sent
    assert await desk.journal.inbox("host-2") == []
    await hand.append((Kind.SIGNAL_RECEIVED, {}), applied=(sent[0].message_id, sent[2].message_id))
    assert await desk.journal.inbox("host-1") == [sent[1], sent[3], sent[4]]


async def test_a_message_counts_once(desk: Desk):
    hand = await desk.hold()
    assert await desk.send(hand.run_id, message_id="m") is ACCEPTED
    assert await desk.send(hand.run_id, message_id="m") is SendOutcome.DUPLICATE
    other = await desk.hold()
    assert await desk.send(other.run_id, message_id="m") is ACCEPTED
    await hand.append((Kind.SIGNAL_RECEIVED, {}), applied=("m",))
    assert await desk.send(hand.run_id, message_id="m") is SendOutcome.DUPLICATE


async def test_one_message_sent_from_two_processes_at_once_counts_once(desk: Desk, second: Store):
    hand = await desk.hold()
    outcomes = await asyncio.gather(*(journal.send(message(hand.run_id, message_id="m")) for _ in range(10) for journal in (desk.journal, second.journal)))
    assert outcomes.count(ACCEPTED) == 1
    assert outcomes.count(SendOutcome.DUPLICATE) == 19


async def test_missing_and_ended_runs_say_so(desk: Desk):
    hand = await desk.hold()
    await hand.end()
    assert [await desk.send("nobody", kind) for kind in MessageKind] == [MISSING] * len(MessageKind)
    assert [await desk.send(hand.run_id, kind) for kind in MessageKind] == [ENDED] * len(MessageKind)


async def test_mail_wakes_a_waiting_run_but_starts_no_run_before_its_time(desk: Desk):
    hand = await desk.hold()
    await hand.wait(wake_at=1 << 45)
    assert await desk.send(hand.run_id) is ACCEPTED
    assert len(await desk.claim("host-1", hand.run_id)) == 1
    planned = await desk.submit(wake_at=1 << 45)
    assert await desk.send(planned) is ACCEPTED
    assert await desk.claim("host-1", planned) == []


async def test_a_cancel_ends_a_run_nobody_has_touched(desk: Desk):
    run_id = await desk.submit()
    assert await desk.send(run_id, MessageKind.CANCEL, message_id="c", reason="typo") is SendOutcome.CANCELED
    row = await desk.run(run_id)
    assert (row.status, row.head, row.epoch, row.wake_at) == (RunStatus.CANCELED, 2, 0, None)
    assert row.ended_at == row.cancel_requested_at
    (_, canceled) = await desk.journal.events(run_id)
    assert (canceled.kind, canceled.body, canceled.at) == (Kind.RUN_CANCELED, {"reason": "typo"}, row.ended_at)
    await desk.owner()
    assert await desk.claim() == []
    assert await desk.send(run_id, MessageKind.CANCEL) is ENDED
    assert await desk.send(run_id, MessageKind.CANCEL, message_id="c") is SendOutcome.DUPLICATE


async def test_a_cancel_of_a_queued_child_is_left_to_an_owner_who_tells_the_parent(desk: Desk):
    run_id = await desk.submit(parent_run="p", wake_at=1 << 45)
    assert await desk.send(run_id, MessageKind.CANCEL) is ACCEPTED
    await desk.owner()
    (claim,) = await desk.claim()
    assert claim.row.cancel_requested_at is not None


async def test_a_cancel_wakes_a_waiting_run_and_the_first_one_counts(desk: Desk):
    hand = await desk.hold()
    await hand.wait(wake_at=1 << 45)
    assert await desk.send(hand.run_id, MessageKind.CANCEL) is ACCEPTED
    first = (await desk.run(hand.run_id)).cancel_requested_at
    assert await desk.send(hand.run_id, MessageKind.CANCEL) is ACCEPTED
    assert (await desk.run(hand.run_id)).cancel_requested_at == first
    assert len(await desk.claim()) == 1


async def test_cancel_against_the_end_has_one_truth(desk: Desk, second: Store):
    for _ in range(30):
        hand = await desk.hold()
        canceled, appended = await asyncio.gather(second.journal.send(message(hand.run_id, MessageKind.CANCEL)), hand.end())
        if canceled is ACCEPTED:
            assert appended is AppendOutcome.CANCEL_FIRST
            assert not (await desk.run(hand.run_id)).status.ended
        else:
            assert (canceled, appended) == (ENDED, AppendOutcome.COMMITTED)


async def test_cancel_against_the_first_claim_has_one_truth(desk: Desk, second: Store):
    await desk.owner()
    for _ in range(20):
        run_id = await desk.submit()
        outcome, claims = await asyncio.gather(second.journal.send(message(run_id, MessageKind.CANCEL)), desk.claim("host-1", run_id))
        assert (outcome, len(claims)) in {(SendOutcome.CANCELED, 0), (ACCEPTED, 1)}


# --- approvals -------------------------------------------------------------------------------------------------------


def question(hand: Hand, approval_id: str = "", **fields: object) -> ApprovalRow:
    row = ApprovalRow(approval_id or f"approval-{hand.run_id}", hand.run_id, "brief", "review", tick(), "ship it?\0", {"type": "object"}, {"draft": "…"})
    return replace(row, **fields)  # type: ignore[arg-type]


async def ask(desk: Desk, **fields: object) -> tuple[Hand, ApprovalRow]:
    hand = await desk.hold()
    asked = question(hand, **fields)
    await hand.wait(approvals=[asked])
    return hand, asked


async def test_a_question_is_shown_until_it_is_decided(desk: Desk):
    hand, asked = await ask(desk)
    shown = replace(asked, message="ship it?\ufffd")
    assert await desk.journal.approval(asked.approval_id) == shown
    assert await desk.journal.approvals(ApprovalQuery(TENANT)) == [shown]
    assert await desk.journal.approvals(ApprovalQuery("other")) == []
    decision = {"approved": True, "by": "ada", "form": {"stars": 5}}
    sent = message(hand.run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, **decision)
    assert await desk.journal.send(sent) is ACCEPTED
    decided = await desk.journal.approval(asked.approval_id)
    assert decided == replace(shown, decided_at=sent.at, decision=decision)
    assert await desk.journal.approvals(ApprovalQuery(TENANT)) == []
    assert await desk.journal.approvals(ApprovalQuery(TENANT, pending=False, run_id=hand.run_id)) == [decided]
    (claim,) = await desk.claim()
    assert claim.row.run_id == hand.run_id
    assert await desk.journal.inbox("host-1") == [sent]


async def test_the_first_decision_stands(desk: Desk, second: Store):
    hand, asked = await ask(desk)
    decisions = [message(hand.run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=n % 2 == 0, by=f"p{n}") for n in range(10)]
    outcomes = await asyncio.gather(*((desk.journal, second.journal)[n % 2].send(each) for n, each in enumerate(decisions)))
    assert sorted(outcomes) == [ACCEPTED] + [SendOutcome.DECIDED] * 9
    winner = decisions[outcomes.index(ACCEPTED)]
    settled = await desk.journal.approval(asked.approval_id)
    assert settled is not None
    assert settled.decision is not None
    assert settled.decision["by"] == winner.body["by"]


async def test_a_decision_after_the_expiry_or_on_nothing_is_refused(desk: Desk):
    hand, asked = await ask(desk, expires_at=1)
    assert await desk.send(hand.run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True) is SendOutcome.DECIDED
    assert await desk.send(hand.run_id, MessageKind.APPROVAL, approval_id="nothing", approved=True) is MISSING
    other = await desk.hold()
    assert await desk.send(other.run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True) is MISSING


async def test_what_the_engine_settled_is_decided(desk: Desk):
    hand, asked = await ask(desk)
    await desk.send(hand.run_id)
    (claim,) = await desk.claim("host-1", hand.run_id)
    again = Hand(desk.store, claim.row)
    expired = replace(asked, decided_at=tick(), decision={"approved": False, "by": "expiry"})
    assert await again.append((Kind.RUN_WOKEN, {}), (Kind.APPROVAL_RESOLVED, {}), approvals=(expired,)) is AppendOutcome.COMMITTED
    assert await desk.send(hand.run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True) is SendOutcome.DECIDED


async def test_an_expiry_does_not_override_a_decision_it_has_not_read(desk: Desk):
    hand, asked = await ask(desk)
    await desk.send(hand.run_id, MessageKind.APPROVAL, message_id="yes", approval_id=asked.approval_id, approved=True, by="ada")
    (claim,) = await desk.claim()
    again = Hand(desk.store, claim.row)
    expired = replace(asked, decided_at=tick(), decision={"approved": False, "by": "expiry"})
    assert await again.append((Kind.RUN_WOKEN, {}), approvals=(expired,)) is AppendOutcome.CANCEL_FIRST
    settled = replace(asked, decided_at=tick(), decision={"approved": True, "by": "ada"})
    assert await again.append((Kind.RUN_WOKEN, {}), approvals=(settled,), applied=("yes",)) is AppendOutcome.COMMITTED


async def test_questions_of_an_ended_run_wait_for_nobody(desk: Desk):
    hand = await desk.hold()
    asked = question(hand)
    await hand.append((Kind.APPROVAL_REQUESTED, {}), approvals=(asked,))
    await hand.end()
    assert await desk.journal.approvals(ApprovalQuery(TENANT)) == []
    assert await desk.send(hand.run_id, MessageKind.APPROVAL, approval_id=asked.approval_id, approved=True) is ENDED


async def test_approvals_come_in_pages_newest_first(desk: Desk):
    hand = await desk.hold()
    asked = [question(hand, f"q{n}", requested_at=1000 + n // 2) for n in range(7)]
    await hand.append((Kind.APPROVAL_REQUESTED, {}), approvals=tuple(asked))
    seen: list[str] = []
    before = None
    while page := await desk.journal.approvals(ApprovalQuery(TENANT, before=before, limit=3)):
        seen += [row.approval_id for row in page]
        before = seen[-1]
    assert seen == [f"q{n}" for n in (6, 5, 4, 3, 2, 1, 0)]
