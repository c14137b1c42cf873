"""The `agent` step: a rendered mapping in, an answer out."""

import asyncio
import gc
import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from runtime.agents.attachments import Attachment, attachments_of
from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.messages import checked_history, shortened
from runtime.agents.simulated import run_simulated
from runtime.errors import StepFailed

_live: list[Callable[..., Any]] = []
"""The live loop, once it has been imported."""
_DEFAULTS: dict[str, Any] = {"instructions": "", "model": None, "tools": [], "output": None, "temperature": None, "max_tokens": None, "stream": "auto"}
_LIMITS: dict[str, Any] = {"turns": 50, "tool_calls": 200, "tokens": None}


async def run_agent(agent: dict[str, Any], *, mode: str, default_model: str | Sequence[str] | None, context: AgentContext) -> AgentOutcome:
    """Let a model work until it has an answer.

    `agent` is the rendered mapping (`runtime.definition.model.Agent` as JSON; only `prompt` must be there); `mode` is `live` or `simulated`;
    `default_model` is the workflow's, or several in the order they are tried. Raises StepFailed. Never retryable: `model_missing`,
    `model_unknown`, `provider_not_configured`, `provider_not_installed`, `provider_unauthorized`, `model_not_found`, `model_request_refused`,
    `context_too_long`, `content_filtered`, `quota_exceeded`, `history_invalid`, `attachment_invalid`, `agent_limit`, `agent_invalid`,
    `tool_not_found`, `tool_invalid`, `function_not_allowed`, `function_not_found`, `simulation_impossible`, `response_too_large`.
    Retryable, with `retry_after` as the provider asked: `rate_limited`, `provider_unavailable`, `timeout`, `model_output_invalid`, `response_invalid`.
    A StepFailed raised by a tool goes through as it is.
    """
    spec = {**_DEFAULTS, **agent, "limits": {**_LIMITS, **(agent.get("limits") or {})}}
    spec["history"] = checked_history(agent.get("history")) or list(context.history)
    spec["attachments"] = await _attachments(agent.get("attachments"), context)
    if mode == "simulated" and not context.scripted:
        return _fitting(spec, await run_simulated(spec, context))
    wanted = spec["model"] or default_model or ("scripted:model" if context.scripted else None)
    models = [wanted] if isinstance(wanted, str) else list(wanted or ())
    if not models:
        raise StepFailed("model_missing", "name a model: `agent.model` of the step or `defaults.model` of the workflow", retryable=False)
    if not _live:
        await warm()
    return _fitting(spec, await _live[0](spec, models, context))


def _fitting(spec: dict[str, Any], outcome: AgentOutcome) -> AgentOutcome:
    """What goes into a conversation has bounds of its own."""
    if outcome.messages is None or spec.get("conversation") is None:
        return outcome
    return replace(outcome, messages=shortened(outcome.messages))


async def _attachments(value: Any, context: AgentContext) -> list[Attachment]:
    if value is None:
        return []
    if context.load is None:
        raise StepFailed("attachment_invalid", "there is no artifact store here", retryable=False)
    return await attachments_of(value, context.artifacts, context.load)


async def warm() -> None:
    """Import what live agents need, away from the event loop: it takes over a second and 60 MB, once per process."""
    module = await asyncio.to_thread(importlib.import_module, "runtime.agents.live")
    if _live:
        return
    _live.append(module.run_live)
    # Modules never become garbage; looking through them again and again costs a quarter of the CPU of a model call.
    gc.collect()
    gc.freeze()
