"""Runs with limits of concurrency, as the tests of slots make them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from runtime.engine.events import Kind
from runtime.store.protocol import AppendOutcome, NewRun
from tests.contract.store.desk import Desk, Hand, new_run


def limits(limit: int | None = 1, *, per_key: int | None = None, k: Any = None, on_limit: str = "queue", group: str = "g") -> dict[str, Any]:
    """The slot fields of a run, as the gateway makes them."""
    slot_key = "" if k is None else json.dumps(k)
    return {"slot_group": group, "slot_key": slot_key, "slot_limit": limit, "slot_per_key": per_key, "slot_on_limit": on_limit, "slot_held": False}


async def start(desk: Desk, run_id: str, owner: str = "host-1") -> Hand:
    """Claim a run that has a slot, and start it."""
    await desk.owner(owner)
    (claim,) = await desk.claim(owner, run_id)
    hand = Hand(desk.store, claim.row)
    assert await hand.start() is AppendOutcome.COMMITTED
    return hand


async def holding(desk: Desk, *run_ids: str) -> list[str]:
    """Those of these runs that have a slot."""
    rows = [await desk.run(run_id) for run_id in run_ids]
    return [row.run_id for row in rows if row.slot_held and not row.status.ended]


def child_of(hand: Hand, **fields: Any) -> NewRun:
    run = new_run(parent_run=hand.run_id, parent_step="call", **fields)
    body = {**(run.events[0].body or {}), "parent": {"run_id": hand.run_id, "step": "call", "index": 3, "depth": 1}}
    return replace(run, events=(replace(run.events[0], body=body),))


async def append_children(hand: Hand, children: Sequence[NewRun], **fields: Any) -> None:
    assert await hand.append((Kind.STEP_WAITING, {"step": "call"}), children=tuple(children), **fields) is AppendOutcome.COMMITTED
