"""New runs out of old ones: retry what failed, or go on from any step with other inputs. Finished work is taken over, not paid again."""

from typing import Any

from runtime.definition.concurrency import slot_columns
from runtime.definition.plan import Plan
from runtime.engine.events import Event
from runtime.engine.fork import downstream, failed_steps, fork_events
from runtime.engine.state import RunState
from runtime.engine.states import RunStatus
from runtime.errors import Conflict, NotFound
from runtime.gateway.starts import Started, Starts, created_event
from runtime.ids import uuid7
from runtime.store.protocol import NewRun, RunRow
from runtime.values import load

RETRYABLE = (RunStatus.FAILED, RunStatus.CANCELED)


class Forks(Starts):
    """What makes a run from a run."""

    async def retry(self, tenant: str, run_id: str, *, idempotency_key: str | None = None, user: str = "") -> Started:
        """A new run of the same version and inputs that keeps every finished step; of a failed map, every finished item.

        Raises NotFound, and Conflict unless the run failed or was canceled.
        """
        source = await self.run(tenant, run_id)
        if source.status not in RETRYABLE:
            raise Conflict(f"the run is {source.status}; only a failed or canceled run can be retried", run_id=run_id)
        plan = await self.plan(source)
        state = await self._folds.state(run_id, plan)
        reused = fork_events(plan, state, restart=failed_steps(state), at=self.clock.now())
        return await self._derive(source, plan, state, {"run_id": run_id, "reason": "retry"}, reused, None, idempotency_key, user)

    async def fork(
        self,
        tenant: str,
        run_id: str,
        *,
        from_step: str | None = None,
        inputs: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
        user: str = "",
    ) -> Started:
        """A new run that starts again at `from_step` (from the beginning without) and keeps finished steps not downstream of it.

        `inputs` replaces inputs by name. The source may still be running; it is not touched. Raises NotFound, InputInvalid.
        """
        source = await self.run(tenant, run_id)
        plan = await self.plan(source)
        state = await self._folds.state(run_id, plan)
        if from_step is not None and from_step not in plan.steps:
            raise NotFound(f"workflow {source.workflow} has no step {from_step[:100]}")
        origin = {"run_id": run_id, "reason": "fork"} | ({"step": from_step} if from_step else {})
        reused = _fork_from(plan, state, from_step, self.clock.now())
        return await self._derive(source, plan, state, origin, reused, inputs, idempotency_key, user)

    async def _derive(
        self,
        source: RunRow,
        plan: Plan,
        state: RunState,
        origin: dict[str, Any],
        reused: list[Event],
        edits: dict[str, Any] | None,
        key: str | None,
        user: str,
    ) -> Started:
        now = self.clock.now()
        inputs = state.inputs
        if edits:
            inputs, slot = await self._inputs(plan, source.tenant, {**await load(inputs, self.artifacts), **edits}, "/inputs")
        else:
            slot = {} if source.slot_group is None else slot_columns(plan, source.tenant, await load(inputs, self.artifacts))
        row = RunRow(
            run_id=uuid7(now),
            tenant=source.tenant,
            workflow=source.workflow,
            definition=source.definition,
            status=RunStatus.QUEUED,
            mode=source.mode,
            epoch=0,
            head=1 + len(reused),
            created_at=now,
            wake_at=now,
            priority=source.priority,
            isolation=source.isolation,
            forked_from=source.run_id,
            labels=source.labels,
            keep_for=source.keep_for,
            **slot,
        )
        created = created_event(row, inputs, forked_from=origin, user=user, budget=state.budget)
        idempotency = self._idempotency(key, [origin, edits], now)
        return (await self._submit([NewRun(row, (created, *reused), idempotency)]))[0]


def _fork_from(plan: Plan, state: RunState, from_step: str | None, at: int) -> list[Event]:
    """What a fork keeps: nothing without `from_step`. A map that is forked from runs all of its items again: that is what was asked for."""
    if from_step is None:
        return []
    later = downstream(plan, (from_step,))
    restart = frozenset({from_step} | (failed_steps(state) - later))
    return fork_events(plan, state, restart=restart, at=at, keep_items=False)
