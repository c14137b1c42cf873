"""From a finished model call to its row of the ledger, and from a person's word to another budget."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from runtime.definition.model import StepKind
from runtime.engine.events import Event, Kind
from runtime.engine.state import RunState, split_key
from runtime.host.slot import Slot
from runtime.money.purse import Payer
from runtime.store.money_protocol import LedgerRow, Raised


def payer_of(slot: Slot) -> Payer:
    """Whose money the model calls of this run are made with."""
    state = slot.state
    return Payer(slot.row.tenant, slot.row.workflow, state.root, state.user, state.budget)


def settles(state: RunState) -> bool:
    """Whether something may still be held back for this run at its end: for a call whose process died, or that is just being canceled."""
    return state.ended and state.mode == "live" and any(each.kind is StepKind.AGENT for each in state.plan.steps.values())


def ledger_row(slot: Slot, event: Event) -> LedgerRow | None:
    """The row of a `call.finished`; None when it was no model call that cost anything: a tool, a mark."""
    body = event.body or {}
    usage: Mapping[str, Any] = body.get("usage") or {}
    if "call" not in usage:
        return None
    name, iteration = split_key(event.step or "")
    step, item = slot.state.steps[name], body.get("index")
    return LedgerRow(
        run_id=slot.run_id,
        call=usage["call"],
        seq=event.seq,
        root_run=slot.state.root,
        step=name,
        iteration=iteration,
        item=item,
        number=body["n"],
        attempt=step.attempt if step.items is None or item is None else step.items.attempts[item],
        tenant=slot.row.tenant,
        workflow=slot.row.workflow,
        user=slot.state.user,
        provider=usage["provider"],
        model=usage["model"],
        answered=usage.get("answered"),
        input_tokens=usage["input_tokens"],
        cached_tokens=usage["cached_tokens"],
        output_tokens=usage["output_tokens"],
        reasoning_tokens=usage["reasoning_tokens"],
        usd=Decimal(usage["usd"]) if "usd" in usage else None,
        prices=usage.get("prices"),
        latency_ms=usage.get("latency_ms"),
        cached=body.get("cached", False),
        at=event.at,
        reserved=usage.get("reserved", False),
    )


def raised_by(events: Sequence[Event], tenant: str, state: RunState) -> Raised | None:
    """The budget these events give the root run; of several the last one, which begins with those before."""
    given = [event for event in events if event.kind is Kind.RUN_RESUMED and (event.body or {}).get("budget")]
    if not given:
        return None
    change = {name: value for event in given for name, value in ((event.body or {})["budget"]).items()}
    return Raised(tenant, state.root, change, state.budget or {}, given[-1].at)
