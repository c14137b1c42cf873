"""The `agent` step: hands over to the agent loop, which knows models and tools."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from runtime.agents import loop  # light: pydantic_ai comes with the first live step
from runtime.agents.cleaning import cleaned
from runtime.agents.context import AgentContext, Callee
from runtime.agents.providers import Providers
from runtime.agents.watching import watched
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
        outcome = await loop.run_agent(spec, mode=work.call.mode, default_model=work.call.model, context=self._context(work))
        return Outcome(outcome.output, outcome.usage, outcome.messages)

    async def close(self) -> None:
        """Close the connections to providers and tools."""
        await self._providers.aclose()
        await self._toolsets.close()

    def _context(self, work: Work) -> AgentContext:
        call, record = work.call, self._services.record
        return AgentContext(
            providers=self._providers,
            resolve=partial(self._callee, work),
            tenant=call.tenant,
            timeout=None if call.timeout_ms is None else call.timeout_ms / 1000,
            replay=[body for body in call.calls if body.get("index") == work.index],
            record=None if record is None else partial(record, call, work.index),
            observe=self._services.observe,
            layers=[*watched(work.span, self._services.spend), cleaned],  # the innermost: whatever else a request passes comes before these
            span=work.span,
            toolsets=StepToolsets(self._toolsets, work.idempotency_key, work.traceparent),
            history=call.history,
            artifacts=_artifacts(call.scope),
            load=self._services.artifacts.get,
            keep_messages=call.keep_messages,
        )

    def _callee(self, work: Work, reference: str) -> Callee:
        function = resolve(reference, self._allowed, group=TOOLS)
        return Callee(function.call, partial(self._caller.call, function, work=work))


def network(allow: AllowList) -> Network:
    """The guarded way out of this process's tools."""
    return Network(Outbound(allow), allow.lists)
