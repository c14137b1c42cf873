"""Starting runs, one or many: checked, committed, and only then announced."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from runtime.definition.concurrency import slot_columns
from runtime.definition.inputs import check_inputs
from runtime.definition.model import Definition
from runtime.definition.plan import Plan
from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.errors import InputInvalid, LimitExceeded, Overloaded, Problem
from runtime.gateway.payloads import keep, moved
from runtime.gateway.workflows import Workflows
from runtime.ids import uuid7
from runtime.money.budgets import document, lower
from runtime.store.catalog_protocol import DefinitionRow
from runtime.store.protocol import Idempotency, NewRun, RunRow, Submitted
from runtime.tracing.ids import run_root

MAX_BATCH = 1000
COUNT_SECONDS = 1.0
"""How old the count of active runs may be that admission looks at."""


@dataclass(frozen=True, slots=True)
class ScheduledBy:
    """The schedule a run is started by, and the tick it is for (ms); None when somebody triggers the schedule by hand."""

    schedule_id: str
    name: str
    tick: int | None = None


@dataclass(frozen=True, slots=True)
class StartRequest:
    """One run to start. Without `version` the current one is taken, without `mode` the one of the settings."""

    workflow: str
    inputs: dict[str, Any] = field(default_factory=dict)
    version: str | None = None
    mode: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    priority: int = 0
    idempotency_key: str | None = None
    traceparent: str | None = None
    scheduled: ScheduledBy | None = None
    run_id: str | None = None
    """Of a run that repeats another one; a new one is drawn when absent, as is `seed`."""
    seed: int | None = None
    budget: dict[str, Any] | None = None
    """Limits as the journal has them (runtime.money.budgets); of these and the definition's, the lower ones count."""
    user: str = ""
    """The id of the API key, `schedule:<name>` or `hook:<name>`; empty when nobody is known."""


@dataclass(frozen=True, slots=True)
class Started:
    """`created` is False when the idempotency key had already led to this run; `inputs` are then not at hand (None)."""

    run: RunRow
    created: bool
    inputs: Any = None
    budget: dict[str, Any] | None = None
    traceparent: str | None = None
    """The trace of a run that was created."""


class Starts(Workflows):
    """What makes new runs."""

    async def start(self, tenant: str, request: StartRequest) -> Started:
        """Start one run; it is on disk when this returns. Raises NotFound, InputInvalid, IdempotencyMismatch, Overloaded, ConcurrencyLimit,
        PayloadTooLarge."""
        stored = await self.workflow(tenant, request.workflow, request.version)
        return (await self._submit([await self._prepare(stored, request, "/inputs")]))[0]

    async def prepare(self, tenant: str, request: StartRequest) -> NewRun:
        """The run `start` would commit, admitted and checked, for those who commit it together with something else. Raises what `start` raises."""
        stored = await self.workflow(tenant, request.workflow, request.version)
        run = await self._prepare(stored, request, "/inputs")
        await self._admit(1)
        return run

    async def start_batch(self, tenant: str, requests: Sequence[StartRequest]) -> list[Started]:
        """Start up to 1000 runs, all or none. Raises what `start` raises, with pointers like `/runs/7/inputs/topic`."""
        if not 1 <= len(requests) <= MAX_BATCH:
            raise LimitExceeded(f"a batch has 1 to {MAX_BATCH} runs")
        wanted = dict.fromkeys((request.workflow, request.version) for request in requests)
        stored = {names: await self.workflow(tenant, *names) for names in wanted}
        prepared: list[NewRun] = []
        problems: list[Problem] = []
        for index, request in enumerate(requests):
            try:
                prepared.append(await self._prepare(stored[request.workflow, request.version], request, f"/runs/{index}/inputs"))
            except InputInvalid as error:
                problems.extend(error.problems)
        if problems:
            raise InputInvalid(f"{len(problems)} problems in the inputs of {len(requests)} runs", problems=problems)
        return await self._submit(prepared)

    async def active(self) -> int:
        """Runs that have not ended, over all tenants."""
        return await self.journal.active_runs()

    async def _prepare(self, stored: DefinitionRow, request: StartRequest, pointer: str) -> NewRun:
        plan = self.compiled(stored)
        definition = plan.definition
        inputs, slot = await self._inputs(plan, stored.tenant, request.inputs, pointer)
        now = self.clock.now()
        row = RunRow(
            run_id=request.run_id or uuid7(now),
            tenant=stored.tenant,
            workflow=stored.workflow,
            definition=stored.definition,
            status=RunStatus.QUEUED,
            mode=request.mode or self.settings.run_mode,
            epoch=0,
            head=1,
            created_at=now,
            wake_at=now,
            priority=request.priority,
            isolation=definition.isolation,
            schedule_id=request.scheduled.schedule_id if request.scheduled else None,
            schedule_tick=request.scheduled.tick if request.scheduled else None,
            labels={**definition.labels, **request.labels},
            keep_for=definition.retention,
            **slot,
        )
        budget = _budget(definition, request.budget)
        created = created_event(row, inputs, traceparent=request.traceparent, scheduled=request.scheduled, seed=request.seed, user=request.user, budget=budget)
        asked: list[Any] = [request.workflow, request.version, request.inputs, request.mode, request.labels, request.priority]
        if request.scheduled is not None:  # what it asks for may change between two tries with the same key; the schedule does not
            asked = ["schedule", request.scheduled.schedule_id]
        elif request.budget is not None:
            asked.append(request.budget)
        return NewRun(row, (created,), self._idempotency(request.idempotency_key, asked, now))

    async def _inputs(self, plan: Plan, tenant: str, given: dict[str, Any], pointer: str) -> tuple[Any, dict[str, Any]]:
        """The checked inputs as they stand in the journal, and the run's limits of concurrency."""
        try:
            inputs = check_inputs(plan.definition, given)
            slot = slot_columns(plan, tenant, inputs)
        except InputInvalid as error:
            raise InputInvalid(str(error), problems=moved(error.problems, pointer)) from None
        return await keep(inputs, self.artifacts, limit=self.settings.max_input_bytes, pointer=pointer), slot

    def _idempotency(self, key: str | None, asked: Any, now: int) -> Idempotency | None:
        """The client's key, bound to all that the client asked for."""
        if key is None:
            return None
        fingerprint = hashlib.sha256(to_json(_sorted(asked))).hexdigest()
        return Idempotency(key, fingerprint, now + self.settings.idempotency_hours * 3_600_000)

    async def _submit(self, runs: list[NewRun]) -> list[Started]:
        await self._admit(len(runs))
        submitted = await self.journal.submit(runs)
        self.runner.nudge([one.run_id for one in submitted if one.created and not one.waiting])
        return [await self._started(run, one) for run, one in zip(runs, submitted, strict=True)]

    async def _started(self, run: NewRun, submitted: Submitted) -> Started:
        if submitted.created:
            row = run.row if run.row.slot_group is None else await self.run(run.row.tenant, run.row.run_id)
            body = run.events[0].body or {}
            return Started(row, created=True, inputs=body["inputs"], budget=body.get("budget"), traceparent=body["traceparent"])
        return Started(await self.run(run.row.tenant, submitted.run_id), created=False)

    async def _admit(self, count: int) -> None:
        """Refuse what would make the queue longer than its limit. The count may be a second old: the limit is a guard, not a promise."""
        counted_at, active = self._active
        if self.clock.monotonic() - counted_at > COUNT_SECONDS or counted_at < 0:
            counted_at, active = self.clock.monotonic(), await self.journal.active_runs()
        if active + count > self.settings.max_queued_runs:
            self._active = (counted_at, active)
            raise Overloaded(f"{active} runs have not ended yet; at most {self.settings.max_queued_runs} may be", retry_after=5)
        self._active = (counted_at, active + count)


def created_event(
    row: RunRow,
    inputs: Any,
    *,
    forked_from: dict[str, Any] | None = None,
    traceparent: str | None = None,
    scheduled: ScheduledBy | None = None,
    seed: int | None = None,
    user: str = "",
    budget: dict[str, Any] | None = None,
) -> Event:
    """The first event of a run. The seed is drawn here, once: what is random later follows from it and replays the same."""
    body: dict[str, Any] = {
        "workflow": row.workflow,
        "definition": row.definition,
        "inputs": inputs,
        "mode": row.mode,
        "seed": secrets.randbits(63) if seed is None else seed,
        "labels": row.labels,
        "traceparent": traceparent or str(run_root(row.run_id)),
    }
    if forked_from is not None:
        body["forked_from"] = forked_from
    if scheduled is not None:
        body["schedule"] = {"schedule_id": scheduled.schedule_id, "name": scheduled.name, "tick": scheduled.tick}
    if user:
        body["user"] = user
    if budget is not None:
        body["budget"] = budget
    return Event(seq=1, epoch=0, kind=Kind.RUN_CREATED, at=row.created_at, body=body)


def _budget(definition: Definition, given: dict[str, Any] | None) -> dict[str, Any] | None:
    """The run's budget: the lower limit counts."""
    own = definition.budget
    written = {} if own is None else document(own.usd, own.tokens, own.calls, own.duration, own.on_exceeded)
    return lower(written, given or {})


def _sorted(value: Any) -> Any:
    """The same JSON with its keys in order, so that the fingerprint does not depend on how a client writes them."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
