"""The `agent` step: hands over to the agent loop, which knows models and tools."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from runtime.agents import loop  # light: pydantic_ai comes with the first live step
from runtime.agents.asking import Layer
from runtime.agents.budget import Budgets
from runtime.agents.caching import Caching
from runtime.agents.cleaning import cleaned
from runtime.agents.context import AgentContext, Callee
from runtime.agents.limiting import WAIT_SECONDS, Limiting
from runtime.agents.providers import Providers
from runtime.agents.watching import watched
from runtime.definition.types import parse_duration
from runtime.deltas.voice import Speaker
from runtime.steps.addresses import AllowList
from runtime.steps.context import StepServices, Work
from runtime.steps.functions import resolve
from runtime.steps.outbound import Outbound
from runtime.steps.outcome import Outcome
from runtime.steps.python import Caller
from runtime.toolsets.network import Network
from runtime.toolsets.toolsets import SharedToolsets, StepToolsets

TOOLS = "agentic_workflows.tools"


def _artifacts(scope: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By hash, the artifacts of all steps in `scope` that were asked for theirs. They are the journal's: nobody writes one by hand."""
    saved = [value for name, value in scope.items() if name.startswith("steps.") and name.endswith(".artifacts")]
    return {one["sha256"]: one for step in saved for one in step.values()}


class AgentKind:
    """Carries `agent` steps out. Tools are called like python steps are, under the same rules."""

    def __init__(self, services: StepServices, caller: Caller) -> None:
        self._services = services
        self._caller = caller
        self._allowed = tuple(services.settings.python_modules)
        allow = AllowList.parse(services.settings.outbound_allow)
        self._providers = Providers(services.settings, services.credentials, partial(Outbound, allow))
        self._toolsets = SharedToolsets(services.settings, services.artifacts, partial(network, allow))

    async def run(self, spec: dict[str, Any], work: Work) -> Outcome:
        """The agent's answer. Raises StepFailed with the codes of runtime.agents."""
        context, stage = self._context(spec, work), self._services.stage
        context = context if stage is None else stage.context(context, spec, work)
        outcome = await loop.run_agent(spec, mode=work.call.mode, default_model=work.call.model, context=context)
        return Outcome(outcome.output, outcome.usage, outcome.messages, outcome.asks, tuple({**body, "index": work.index} for body in outcome.calls))

    async def close(self) -> None:
        """Close the connections to providers and tools."""
        await self._providers.aclose()
        await self._toolsets.close()

    def _context(self, spec: dict[str, Any], work: Work) -> AgentContext:
        call, record, deltas = work.call, self._services.record, self._services.deltas
        return AgentContext(
            providers=self._providers,
            resolve=partial(self._callee, work),
            tenant=call.tenant,
            timeout=None if call.timeout_ms is None else call.timeout_ms / 1000,
            replay=[body for body in call.calls if body.get("index") == work.index],
            record=None if record is None else partial(record, call, work.index),
            hold=record is not None,
            observe=self._services.observe,
            layers=self._layers(spec, work),
            span=work.span,
            speaker=None if deltas is None else Speaker(deltas, call.run_id, call.step_key, work.index, work.attempt),
            toolsets=StepToolsets(self._toolsets, work.idempotency_key, work.traceparent, call.workflows),
            history=call.history,
            artifacts=_artifacts(call.scope),
            load=self._services.artifacts.get,
            keep_messages=call.keep_messages,
        )

    def _layers(self, spec: dict[str, Any], work: Work) -> list[Layer]:
        """What each request to a model passes, outermost first."""
        call, layers = work.call, list[Layer]()
        if (wish := spec.get("cache")) is not None and (cache := self._services.call_cache) is not None:
            shared = wish.get("scope") == "tenant"
            layers.append(Caching(cache, call.tenant, call.workflow, parse_duration(wish["ttl"]), shared=shared, read=work.attempt == 1))
        if (purse := self._services.purse) is not None and call.payer is not None:
            layers.append(Budgets(purse, call.payer, call.run_id, work.seat))
        if (limiter := self._services.limiter) is not None:
            wait = (spec.get("limits") or {}).get("limiter_wait")
            seconds = WAIT_SECONDS if wait is None else parse_duration(wait) / 1000
            layers.append(Limiting(limiter, call.run_id, wait=seconds, clock=work.clock))
        # The innermost: what an answer costs in time is what its model took, and nobody outside sees it before it is cleaned.
        return [*layers, *watched(work.span, self._services.spend), cleaned]

    def _callee(self, work: Work, reference: str) -> Callee:
        function = resolve(reference, self._allowed, group=TOOLS)
        return Callee(function.call, partial(self._caller.call, function, work=work))


def network(allow: AllowList) -> Network:
    """The guarded way out of this process's tools."""
    return Network(Outbound(allow), allow.lists)
