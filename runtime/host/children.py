"""Child runs: a `workflow` step becomes a run of its own, inserted in the very transaction that records its intent."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from runtime.artifacts.protocol import ArtifactStore
from runtime.definition.concurrency import slot_columns
from runtime.definition.inputs import check_inputs
from runtime.definition.plan import plan_for
from runtime.engine.commands import StartChild
from runtime.engine.events import Event, Kind
from runtime.engine.states import RunStatus
from runtime.errors import AgenticError, InputInvalid, NotFound
from runtime.host.slot import Slot
from runtime.references import REFERENCE, holds_reference
from runtime.store.catalog_protocol import Catalog, DefinitionRow
from runtime.store.protocol import Message, MessageKind, NewRun, RunRow
from runtime.tracing.ids import beneath_run
from runtime.values import spill

MAX_DEPTH = 20
"""Runs within runs; a workflow that calls itself without end meets this limit."""


class Children:
    """Makes child runs ready to insert."""

    def __init__(self, catalog: Catalog, artifacts: ArtifactStore, *, max_input_bytes: int) -> None:
        self._catalog = catalog
        self._artifacts = artifacts
        self._max_input_bytes = max_input_bytes

    async def prepare(self, slot: Slot, commands: Iterable[StartChild], now: int) -> tuple[list[NewRun], list[Message]]:
        """The runs to insert, and for each child that cannot be started a message that says so."""
        runs: list[NewRun] = []
        refused: list[Message] = []
        found: dict[tuple[str, str | None], DefinitionRow] = {}
        for command in commands:
            try:
                runs.append(await self._new_run(slot, command, found, now))
            except AgenticError as failure:
                refused.append(_refusal(slot, command, failure, now))
        return runs, refused

    async def _new_run(self, slot: Slot, command: StartChild, found: dict[tuple[str, str | None], DefinitionRow], now: int) -> NewRun:
        parent = slot.state
        depth = (parent.parent or {}).get("depth", 0) + 1
        if depth > MAX_DEPTH:
            raise NotFound(f"runs are nested more than {MAX_DEPTH} deep")
        key = (command.workflow, command.version)
        row = found.get(key) or await self._definition(slot.row.tenant, command)
        found[key] = row
        plan = plan_for(row.document, row.definition)
        inputs: Any = check_inputs(plan.definition, command.inputs)
        if any(map(holds_reference, inputs.values())):
            raise InputInvalid(f"the key {REFERENCE} is reserved: an input may not name a stored value by hand")
        body = {
            "workflow": row.workflow,
            "definition": row.definition,
            "inputs": await spill(inputs, self._artifacts, limit=self._max_input_bytes),
            "mode": parent.mode,
            "seed": int.from_bytes(hashlib.sha256(command.child.encode()).digest()[:7]),
            "labels": parent.labels,
            "parent": {"run_id": parent.run_id, "step": command.step, "index": command.index, "depth": depth, "root": parent.root},
            "traceparent": beneath_run(parent.traceparent, parent.run_id),
            **({"user": parent.user} if parent.user else {}),
            **({"budget": parent.budget} if parent.budget else {}),
        }
        limits = slot_columns(plan, slot.row.tenant, inputs)
        return NewRun(replace(_row(slot, command, row, now), keep_for=plan.definition.retention, **limits), (Event(1, 0, Kind.RUN_CREATED, now, body=body),))

    async def _definition(self, tenant: str, command: StartChild) -> DefinitionRow:
        if command.version is not None:
            row = await self._catalog.definition(tenant, command.version)
        else:
            row = await self._catalog.current(tenant, command.workflow)
        if row is None or row.workflow != command.workflow:
            raise NotFound(f"there is no workflow {command.workflow!r}" + (f" of version {command.version}" if command.version else ""))
        return row


def _row(slot: Slot, command: StartChild, row: DefinitionRow, now: int) -> RunRow:
    return RunRow(
        run_id=command.child,
        tenant=slot.row.tenant,
        workflow=row.workflow,
        definition=row.definition,
        status=RunStatus.QUEUED,
        mode=slot.state.mode,
        epoch=0,
        head=1,
        created_at=now,
        wake_at=now,
        priority=slot.row.priority,
        isolation=row.document.get("isolation", "shared"),
        parent_run=slot.run_id,
        parent_step=command.step,
        labels=slot.state.labels,
    )


def _refusal(slot: Slot, command: StartChild, failure: AgenticError, now: int) -> Message:
    details = [{"pointer": problem.pointer, "detail": problem.detail} for problem in failure.problems]
    error = {"code": failure.code, "message": str(failure), "retryable": False, **({"details": {"errors": details}} if details else {})}
    return child_message(slot.run_id, command.child, command.step, command.index, now, status="failed", error=error)


def child_message(parent: str, child: str, step: str, index: int | None, now: int, *, status: str, output: Any = None, error: Any = None) -> Message:
    """What a child that has ended tells its parent."""
    body = {"run_id": child, "step": step, "index": index, "status": status, "output": output, "error": error}
    return Message(parent, f"child:{child}", MessageKind.CHILD, body, now)
