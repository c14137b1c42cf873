"""How things look as JSON: one shape for the HTTP API, `--json` and the local mode. `runtime/api/schemas.py` documents each."""

import json
from collections import Counter
from typing import Any

from runtime.clock import rfc3339
from runtime.engine.events import Event
from runtime.engine.state import Items, StepState
from runtime.engine.states import StepStatus
from runtime.gateway.reads import Item
from runtime.store.catalog_protocol import ArtifactRow, DefinitionRow, KeyRow
from runtime.store.conversation_protocol import ConversationRow, Exchange
from runtime.store.protocol import ApprovalRow, RunRow
from runtime.store.slot_protocol import SLOT
from runtime.store.webhooks import DeliveryRow, DeliveryState, EndpointRow, HookRow


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def workflow(row: DefinitionRow) -> dict[str, Any]:
    """One version of a workflow without its document. `version` is the content hash, `number` counts from 1."""
    return {
        "name": row.workflow,
        "version": row.definition,
        "number": row.version,
        "description": row.document.get("description", ""),
        "created_at": rfc3339(row.created_at),
    }


def workflow_detail(row: DefinitionRow) -> dict[str, Any]:
    """The same with the document."""
    return {**workflow(row), "definition": row.document}


def run(row: RunRow) -> dict[str, Any]:
    """A run as lists show it. `head` is the seq of its last event."""
    return {
        "run_id": row.run_id,
        "workflow": row.workflow,
        "version": row.definition,
        "status": row.status.value,
        "waiting_for": SLOT if row.lined_up else row.waiting_for,
        "mode": row.mode,
        "priority": row.priority,
        "labels": row.labels,
        "head": row.head,
        "created_at": rfc3339(row.created_at),
        "started_at": _time(row.started_at),
        "ended_at": _time(row.ended_at),
        "wake_at": _time(row.wake_at) if row.owner is None and not row.status.ended else None,
        "cancel_requested_at": _time(row.cancel_requested_at),
        "parent": {"run_id": row.parent_run, "step": row.parent_step} if row.parent_run else None,
        "forked_from": row.forked_from,
        "schedule": {"schedule_id": row.schedule_id, "tick": _time(row.schedule_tick)} if row.schedule_id else None,
        "concurrency": None if row.slot_group is None else concurrency(row),
        "error": row.error,
    }


def concurrency(row: RunRow) -> dict[str, Any]:
    """The limits a run was started with, and whether it has a slot now."""
    return {
        "key": json.loads(row.slot_key) if row.slot_key else None,
        "limit": row.slot_limit,
        "per_key": row.slot_per_key,
        "holding": bool(row.slot_held) and not row.status.ended,
    }


def run_detail(row: RunRow, *, inputs: Any, output: Any, position: int | None = None) -> dict[str, Any]:
    """A run with what went in and came out; `files.shown` decides whether large values stand here or stay references.

    `position`: its place among the runs of its key that wait for a slot, from 1.
    """
    shown = run(row)
    if shown["concurrency"] is not None:
        shown["concurrency"]["position"] = position
    return {**shown, "inputs": inputs, "output": output}


def step(step_id: str, kind: str, state: StepState) -> dict[str, Any]:
    """One step. The outputs of a map are read page by page from its items."""
    return {
        "step": step_id,
        "kind": kind,
        "status": state.status.value,
        "attempt": state.attempt,
        "iteration": state.iteration,
        "started_at": _time(state.started_at),
        "ended_at": _time(state.ended_at),
        "due_at": _time(state.due),
        "waiting": state.waiting,
        "reason": state.reason,
        "cached": state.cached,
        "items": None if state.items is None else items(state.items, ended=state.status.ended),
        "output": None if state.items is not None else state.output,
        "error": state.error,
    }


def items(found: Items, *, ended: bool) -> dict[str, int]:
    """How many items of a map are in which state."""
    over = {"total": found.total, "succeeded": found.done, "failed": len(found.failed)}
    if ended:
        return {**over, "running": 0, "waiting": 0, "retrying": 0, "pending": 0, "canceled": found.open}
    going = {"running": len(found.running), "waiting": len(found.asking), "retrying": len(found.retrying)}
    return {**over, **going, "pending": found.open - sum(going.values()), "canceled": 0}


def item(found: Item) -> dict[str, Any]:
    """One item of a map."""
    return {
        "index": found.index,
        "status": found.status.value,
        "attempt": found.attempt,
        "output": found.output,
        "error": found.error,
        "due_at": _time(found.due),
    }


def progress(steps: dict[str, StepState]) -> dict[str, int]:
    """How many steps are in which state; every state is named."""
    counts = Counter(state.status for state in steps.values())
    return {status.value: counts[status] for status in StepStatus}


def event(fact: Event) -> dict[str, Any]:
    """One fact of the journal."""
    return {
        "seq": fact.seq,
        "epoch": fact.epoch,
        "event": fact.kind.value,
        "at": rfc3339(fact.at),
        "step": fact.step,
        "attempt": fact.attempt,
        "body": fact.body,
    }


def approval(row: ApprovalRow) -> dict[str, Any]:
    """One question to a person and its answer."""
    return {
        "approval_id": row.approval_id,
        "run_id": row.run_id,
        "workflow": row.workflow,
        "step": row.step,
        "message": row.message,
        "form": row.form,
        "show": row.show,
        "requested_at": rfc3339(row.requested_at),
        "expires_at": _time(row.expires_at),
        "decided_at": _time(row.decided_at),
        "decision": row.decision,
    }


def artifact(row: ArtifactRow) -> dict[str, Any]:
    """A named artifact; `size` is bytes."""
    return {
        "name": row.name,
        "sha256": row.digest,
        "size": row.size,
        "media_type": row.media_type,
        "step": row.step,
        "created_at": rfc3339(row.created_at),
    }


def conversation(row: ConversationRow, conversation_id: str) -> dict[str, Any]:
    """A conversation without what was said."""
    return {
        "conversation_id": conversation_id,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
        "last_seq": row.head,
    }


def exchange(row: Exchange) -> dict[str, Any]:
    """What one agent step has said."""
    return {"seq": row.seq, "run_id": row.run_id, "step": row.step, "at": rfc3339(row.at), "messages": row.messages}


def key(row: KeyRow) -> dict[str, Any]:
    """An API key without its secret, which is not known any more."""
    return {
        "key_id": row.key_id,
        "name": row.name,
        "scopes": list(row.scopes),
        "created_at": rfc3339(row.created_at),
        "expires_at": _time(row.expires_at),
        "revoked_at": _time(row.revoked_at),
    }


def endpoint(row: EndpointRow) -> dict[str, Any]:
    """A receiver of events; its secret is shown where it is made and nowhere else."""
    return {
        "endpoint_id": row.endpoint_id,
        "url": row.url,
        "events": list(row.events),
        "workflows": None if row.workflows is None else list(row.workflows),
        "description": row.description,
        "enabled": row.disabled_at is None,
        "disabled_at": _time(row.disabled_at),
        "disabled_reason": row.disabled_reason,
        "failing_since": _time(row.failing_since),
        "created_at": rfc3339(row.created_at),
    }


def delivery(row: DeliveryRow) -> dict[str, Any]:
    """One message for one endpoint; `status` is that of the last answer."""
    return {
        "delivery_id": row.id,
        "event": row.event,
        "run_id": row.run_id,
        "seq": row.seq,
        "state": row.state.value,
        "tries": row.tries,
        "next_at": rfc3339(row.next_at) if row.state is DeliveryState.PENDING else None,
        "status": row.answer,
        "error": row.error,
        "created_at": rfc3339(row.created_at),
        "ended_at": _time(row.ended_at),
    }


def hook(row: HookRow) -> dict[str, Any]:
    """An address that starts runs, without the address."""
    return {
        "hook_id": row.hook_id,
        "name": row.name,
        "workflow": row.workflow,
        "version": row.version,
        "verify": row.verify,
        "header": row.header,
        "inputs": row.inputs,
        "labels": row.labels,
        "token_id": row.token_id,
        "created_at": rfc3339(row.created_at),
    }
