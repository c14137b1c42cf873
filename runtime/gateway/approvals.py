"""The inbox of what waits for a person."""

from dataclasses import replace
from typing import Any

from runtime.clock import rfc3339
from runtime.definition.inputs import check_value
from runtime.errors import AlreadyDecided, InputInvalid, NotFound, RunEnded
from runtime.gateway.mailbox import Mailbox
from runtime.gateway.payloads import keep, moved
from runtime.ids import is_uuid, uuid7
from runtime.store.protocol import ApprovalQuery, ApprovalRow, Message, MessageKind, SendOutcome


class Approvals(Mailbox):
    """What people who decide do."""

    async def approvals(self, tenant: str, query: ApprovalQuery) -> list[ApprovalRow]:
        """A page of approvals, newest first. The query's tenant is always the caller's."""
        return await self.journal.approvals(replace(query, tenant=tenant))

    async def approval(self, tenant: str, approval_id: str) -> ApprovalRow:
        """One approval. Raises NotFound, also for one of another tenant."""
        row = await self.journal.approval(approval_id) if is_uuid(approval_id) else None
        run = await self.journal.run(row.run_id) if row else None
        if row is None or run is None or run.tenant != tenant:
            raise NotFound(f"there is no approval {approval_id[:100]}")
        return row

    async def decide(
        self,
        tenant: str,
        approval_id: str,
        *,
        approved: bool,
        form: Any = None,
        comment: str | None = None,
        by: str | None = None,
        idempotency_key: str | None = None,
    ) -> ApprovalRow:
        """Accept the decision of a person; the first one stands. An approval with a form needs a form that fits its schema.

        Raises NotFound, InputInvalid, AlreadyDecided, RunEnded.
        """
        row = await self.approval(tenant, approval_id)
        if form is None and approved and isinstance(row.form, dict):
            form = {}  # whoever fills in nothing sends nothing
        self._check_form(row, approved=approved, form=form)
        body: dict[str, Any] = {"approval_id": approval_id, "approved": approved}
        body |= {key: value for key, value in (("comment", comment), ("by", by)) if value is not None}
        if form is not None:
            body["form"] = await keep(form, self.artifacts, limit=self.settings.max_input_bytes, pointer="/form")
        message_id = f"approval:{idempotency_key}" if idempotency_key else uuid7()
        outcome = await self.journal.send(Message(row.run_id, message_id, MessageKind.APPROVAL, body, self.clock.now()))
        decided = await self.approval(tenant, approval_id)
        _check(outcome, decided)
        self.runner.nudge([row.run_id])
        self.feeds.hurry(row.run_id)
        return decided

    def _check_form(self, row: ApprovalRow, *, approved: bool, form: Any) -> None:
        """A rejection needs no form; one that is given must fit all the same."""
        if row.form is None or (form is None and not approved):
            return
        problems = check_value(row.form, form)
        if problems:
            raise InputInvalid("the form does not fit its schema", problems=moved(problems, "/form"), run_id=row.run_id)


def _check(outcome: SendOutcome, row: ApprovalRow) -> None:
    """Whoever comes second learns who was first, also when the run has meanwhile gone on to its end."""
    if outcome is SendOutcome.ENDED and row.decided_at is None:
        raise RunEnded("the run has already ended", run_id=row.run_id)
    if outcome is SendOutcome.MISSING:
        raise NotFound(f"there is no approval {row.approval_id}", run_id=row.run_id)
    if outcome in (SendOutcome.DECIDED, SendOutcome.ENDED):
        who = (row.decision or {}).get("by") or "somebody"
        when = f" at {rfc3339(row.decided_at)}" if row.decided_at else ""
        raise AlreadyDecided(f"already decided by {who}{when}; the first decision stands", run_id=row.run_id)
