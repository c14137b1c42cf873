"""Approvals: the first decision is stored on its row, in the transaction that accepts it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select, update

from runtime.store.codec import plain_text, to_text, to_text_or_none
from runtime.store.columns import any_of
from runtime.store.operations import Mail, Row, WriteTurn
from runtime.store.protocol import Append, ApprovalRow, MessageKind
from runtime.store.tables import approvals

_LOAD = select(approvals.c.approval_id, approvals.c.run_id, approvals.c.expires_at, approvals.c.decided_at, approvals.c.message_id).where(
    any_of(approvals.c.approval_id, "ids")
)
_DECIDE = (
    update(approvals)
    .where(approvals.c.approval_id == bindparam("b_approval_id"), approvals.c.decided_at.is_(None))
    .values(decided_at=bindparam("b_decided_at"), decision=bindparam("b_decision"), message_id=bindparam("b_message_id"))
)


@dataclass(slots=True)
class Question:
    """What is known of an approval: `message_id` is the inbox message that decided it."""

    run_id: str
    expires_at: int | None
    decided_at: int | None
    message_id: str | None


@dataclass(slots=True)
class Decisions:
    """The approvals a batch touches, as they stand under the locks of their runs."""

    questions: dict[str, Question]
    rows: list[Row] = field(default_factory=list)

    def accept(self, letter: Mail) -> bool | None:
        """Store a person's decision. False when it comes too late, None when there is no such question."""
        body, message = letter.message.body, letter.message
        question = self.questions.get(str(body.get("approval_id")))
        if question is None or question.run_id != message.run_id:
            return None
        if question.decided_at is not None or (question.expires_at is not None and message.at >= question.expires_at):
            return False
        decision = {key: value for key, value in body.items() if key != "approval_id"}
        self._decide(str(body["approval_id"]), question, message.at, to_text(decision), letter.message_id)
        return True

    def contradicts(self, append: Append) -> bool:
        """Whether the turn settles a question by itself although a person's accepted decision waits unread in the inbox."""
        applied = {plain_text(message_id) for message_id in append.applied}
        for approval in append.approvals:
            question = self.questions.get(approval.approval_id)
            by_person = question is not None and question.decided_at is not None and question.message_id is not None
            if approval.decided_at is not None and by_person and (approval.decision or {}).get("by") == "expiry":
                return question is not None and question.message_id not in applied
        return False

    def settle(self, approval: ApprovalRow) -> bool:
        """Settle a question the engine has answered; a decision that is already stored stays. False when it is a new question."""
        question = self.questions.get(approval.approval_id)
        if question is None:
            return False
        if question.decided_at is None and approval.decided_at is not None:
            self._decide(approval.approval_id, question, approval.decided_at, to_text_or_none(approval.decision), None)
        return True

    def _decide(self, approval_id: str, question: Question, at: int, decision: str | None, message_id: str | None) -> None:
        question.decided_at, question.message_id = at, message_id
        self.rows.append({"b_approval_id": approval_id, "b_decided_at": at, "b_decision": decision, "b_message_id": message_id})

    def write(self, connection: Connection) -> None:
        if self.rows:
            connection.execute(_DECIDE, self.rows)


def load_decisions(connection: Connection, turns: Sequence[WriteTurn], mail: Iterable[Mail]) -> Decisions:
    """Every approval these turns and letters speak of. Their runs must be held."""
    ids = {approval.approval_id for turn in turns for approval in turn.append.approvals}
    ids |= {str(letter.message.body.get("approval_id")) for letter in mail if letter.message.kind is MessageKind.APPROVAL}
    found = connection.execute(_LOAD, {"ids": sorted(ids)}) if ids else ()
    return Decisions({row[0]: Question(*row[1:]) for row in found})


def approval_row(approval: ApprovalRow) -> Row:
    """The row of a new question."""
    return {
        "approval_id": approval.approval_id,
        "run_id": approval.run_id,
        "workflow": approval.workflow,
        "step": approval.step,
        "requested_at": approval.requested_at,
        "message": approval.message,
        "form": to_text_or_none(approval.form),
        "show": to_text_or_none(approval.show),
        "expires_at": approval.expires_at,
        "decided_at": approval.decided_at,
        "decision": to_text_or_none(approval.decision),
        "message_id": None,
    }
