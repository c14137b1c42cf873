"""What the tests of the API act on: the gateway and the store, and a hand that writes into journals as an owner would."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import yaml

from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.gateway import Gateway, StartRequest
from runtime.store.open import Store
from runtime.store.protocol import Append, AppendOutcome, ApprovalRow, OwnerRow, RunQuery, RunRow

FLOW = """
name: demo
description: Asks a person.
inputs:
  topic: {type: string}
  sources: {type: array, items: {type: string}, default: [a, b, c]}
labels: {team: blue}
steps:
  first: {set: {text: "${{ inputs.topic }}"}}
  each:
    python: {function: "examples.tools:note", args: {source: "${{ item }}"}}
    map: {over: "inputs.sources"}
  ask:
    approval:
      message: Is it good?
      form: {type: object, properties: {stars: {type: integer, minimum: 1}}, required: [stars]}
    needs: [first]
  ping:
    signal: {name: ping, payload: {type: object, properties: {count: {type: integer}}, required: [count]}}
  last: {set: {done: "${{ steps.ask.output }}"}, needs: [each]}
"""
DOCUMENT: dict[str, Any] = yaml.safe_load(FLOW)
ENDS = {Kind.RUN_SUCCEEDED: RunStatus.SUCCEEDED, Kind.RUN_FAILED: RunStatus.FAILED, Kind.RUN_CANCELED: RunStatus.CANCELED}
AT = 1_800_000_000_000

Fact = tuple[Kind, str | None, int | None, dict[str, Any] | None]


@dataclass
class World:
    """`key` is an API key of the tenant `default` with the scope `admin`."""

    gateway: Gateway
    store: Store
    key: str

    async def run(self, tenant: str = "default", **inputs: Any) -> RunRow:
        """A queued run of the demo workflow."""
        await self.gateway.publish(tenant, FLOW)
        started = await self.gateway.start(tenant, StartRequest("demo", {"topic": "whales", **inputs}))
        return started.run

    async def runs(self, count: int) -> list[RunRow]:
        """All runs of the default tenant, as soon as there are `count`."""
        async with asyncio.timeout(20):
            while True:
                found = await self.gateway.runs("default", RunQuery("default"))
                if len(found) >= count:
                    return found

    async def own(self, run_id: str) -> "Owner":
        """Claim the run, as a host would."""
        owner = f"owner-of-{run_id}"
        await self.store.journal.register(OwnerRow(owner, 0, AT, "here", "test", "0"))
        (claim,) = await self.store.journal.claim(owner, 1, run_ids=[run_id], now=self.gateway.clock.now())
        return Owner(self.store, claim.row)


@dataclass
class Owner:
    """Writes events into one run. The status of the row follows from `run.*` events."""

    store: Store
    row: RunRow
    status: RunStatus = RunStatus.RUNNING

    async def write(self, *facts: Fact, approvals: tuple[ApprovalRow, ...] = (), waiting_for: str | None = None, release: bool = False) -> None:
        """Append facts, all or nothing."""
        head = self.row.head
        events = tuple(Event(head + n, self.row.epoch, kind, AT + n, step, attempt, body) for n, (kind, step, attempt, body) in enumerate(facts, 1))
        last = events[-1]
        self.status = ENDS.get(last.kind, self.status)
        body = last.body or {}
        ended = self.status.ended
        outcome = await self.store.journal.append(
            Append(
                self.row.run_id,
                self.row.epoch,
                head,
                events,
                self.status,
                waiting_for=waiting_for,
                started_at=AT,
                ended_at=AT + 1 if ended else None,
                result=body.get("output") if ended else None,
                error=body.get("error") if ended else None,
                approvals=approvals,
                release=release,
            )
        )
        assert outcome is AppendOutcome.COMMITTED
        self.row = replace(self.row, head=head + len(events))

    async def begin(self) -> None:
        """`run.started` and the first pure step."""
        await self.write((Kind.RUN_STARTED, None, None, None), (Kind.STEP_SUCCEEDED, "first", 1, {"output": {"text": "whales"}}))

    async def finish(self, output: Any = None) -> None:
        """The run succeeds."""
        await self.write((Kind.RUN_SUCCEEDED, None, None, {"output": output}))

    async def fail(self, code: str = "boom") -> None:
        """The run fails."""
        await self.write((Kind.RUN_FAILED, None, None, {"error": {"code": code, "message": "it broke"}}))
