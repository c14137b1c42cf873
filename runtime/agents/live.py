"""An agent step with a real model, on pydantic-ai: it asks, calls the tools it is told to, checks the answer, and asks again."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic_ai import Agent, CallDeferred, DeferredToolRequests, ModelRetry, RunContext, ToolFailed, UsageLimits
from pydantic_ai import Tool as FunctionTool
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.messages import BinaryContent, ModelMessage, UserContent
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RunUsage

from runtime.agents import straight
from runtime.agents.attachments import Attachment
from runtime.agents.consent import CallWaits
from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.factories import REQUEST_SECONDS
from runtime.agents.failures import classify
from runtime.agents.ledger import Ledger, storable
from runtime.agents.messages import answered, said_by_user
from runtime.agents.model import LedgerModel, answered_by
from runtime.agents.output import sentences, shape_of
from runtime.agents.streaming import Streaming
from runtime.agents.toolbox import Toolbox
from runtime.agents.tools import Tool, tools_of
from runtime.agents.transcript import to_model, tool_talk
from runtime.errors import StepFailed
from runtime.values import INLINE_LIMIT

REPAIRS = 3
"""So often a model may correct an answer, or the arguments of a tool."""
MOST_HELD = INLINE_LIMIT // 6
"""Characters of an answer that is journalled with the result of its step. Nothing may come between the two, and larger ones have to be stored first."""


async def run_live(spec: dict[str, Any], models: Sequence[str], context: AgentContext) -> AgentOutcome:
    """Run the loop to its answer. Raises StepFailed; its `details.usage` says what the attempt took all the same."""
    # All of them at once: that a fallback cannot be used must not come out on the day it is needed.
    choices = [await context.providers.choose(model, context.tenant) for model in models]
    ledger = Ledger(context.replay, context.record, context.source)
    tools = await tools_of(spec["tools"], context, ledger)
    toolbox = Toolbox(tools, ledger, spec["limits"]["tool_calls"], context.load, context.span)
    asked_for, described = _canonical(spec["output"]), _canonical([_described(tool) for tool in tools])
    shape, agent = shape_of(asked_for), _agent(asked_for, described, may_wait=any(tool.may_wait for tool in tools))
    streaming = Streaming(context.speaker, spec["stream"], structured=spec["output"] is not None)
    usage, model = RunUsage(), LedgerModel(choices, ledger, context.providers, context.observe, context.layers, streaming)
    prompt, settings = _shown(spec["prompt"], spec["attachments"]), _settings(spec, context)
    limits = UsageLimits(request_limit=spec["limits"]["turns"], total_tokens_limit=spec["limits"]["tokens"])
    try:
        first = None
        if _asks_once(spec, tools):
            if context.hold and not context.keep_messages:
                ledger.hold()
            first = await straight.ask(model, prompt, spec["instructions"], settings)
        if first is not None and (text := straight.text_of(first)) is not None:
            if len(text) > MOST_HELD:
                await ledger.settle()
            straight.count(first, usage, limits)
            output, said = text, list[ModelMessage]([first])
        else:
            await ledger.settle()
            result = await agent.run(
                prompt,
                message_history=to_model(spec["history"], tools=bool(tools)),
                instructions=[text for text in (spec["instructions"], shape.instructions) if text],
                model=model if first is None else straight.Answered(model, first),
                deps=toolbox,
                usage=usage,
                usage_limits=limits,
                model_settings=settings,
                infer_name=False,
            )
            if toolbox.asks:  # also beside a final answer: whoever answers and calls in one breath means both
                return AgentOutcome(None, _spent(usage, toolbox, ledger), asks=tuple(toolbox.asks))
            output, said = result.output, result.new_messages()
        by = answered_by(said)
        spent = _spent(usage, toolbox, ledger) | model.saved | ({} if by is None else {"model": by})
        return AgentOutcome(output, spent, _told(spec, said, tools, output) if context.keep_messages else None, calls=ledger.held())
    except (StepFailed, AgentRunError, UserError) as error:
        await ledger.settle()
        failed = classify(error, model.current.provider, model.secrets)
        if failed.error_code == "model_output_invalid":
            await ledger.discard()
        if usage.requests:
            failed.details["usage"] = _spent(usage, toolbox, ledger) | model.saved
        raise failed from error.__cause__ if failed is error else error


def _asks_once(spec: dict[str, Any], tools: Sequence[Tool]) -> bool:
    """Whether nothing is asked of the loop but a text."""
    return spec["output"] is None and not tools and not spec["history"]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _described(tool: Tool) -> tuple[str, str, dict[str, Any]]:
    return tool.name, tool.description, tool.parameters


def _shown(prompt: str, attachments: Sequence[Attachment]) -> str | list[UserContent]:
    """The prompt with what is shown beside it: texts as text, because every model reads those."""
    if not attachments:
        return prompt
    parts: list[UserContent] = [prompt]
    for one in attachments:
        parts.append(f"[{one.name}]")
        parts.append(one.text if one.text is not None else BinaryContent(one.data, media_type=one.media_type, identifier=one.name))
    return parts


def _told(spec: dict[str, Any], said: Sequence[ModelMessage], tools: Sequence[Tool], output: Any) -> list[dict[str, Any]]:
    begin = said_by_user(spec["prompt"], [one.told for one in spec["attachments"]])
    told: list[dict[str, Any]] = storable([begin, *tool_talk(said, {tool.name for tool in tools}), answered(output)])
    return told


@lru_cache(maxsize=256)
def _agent(schema: str, tools: str, *, may_wait: bool) -> Agent[Toolbox, Any]:
    """One agent for all steps that ask for the same shape with the same tools; everything else comes with the run.

    `may_wait`: a run may also end with calls that wait, once all others of their turn have been made.
    """
    shape = shape_of(schema)
    functions = [FunctionTool.from_schema(_call, name, description, parameters, takes_ctx=True) for name, description, parameters in json.loads(tools)]
    output_type = [shape.output_type, DeferredToolRequests] if may_wait else shape.output_type
    agent = Agent(output_type=output_type, tools=functions, deps_type=Toolbox, retries={"tools": REPAIRS, "output": REPAIRS})

    agent.output_validator(shape.check)
    return agent


async def _call(ctx: RunContext[Toolbox], **args: Any) -> Any:
    name = ctx.tool_name or ""
    if problems := ctx.deps.problems(name, args):
        raise ModelRetry("these arguments do not fit:\n" + sentences(problems))
    try:
        result = await ctx.deps.call(name, args, ctx.tool_call_id)
    except CallWaits:
        raise CallDeferred from None
    if "failed" in result:
        raise ToolFailed(result["failed"])
    return result["value"]


def _settings(spec: dict[str, Any], context: AgentContext) -> ModelSettings:
    settings = ModelSettings(timeout=context.timeout or REQUEST_SECONDS)
    if spec["temperature"] is not None:
        settings["temperature"] = spec["temperature"]
    if spec["max_tokens"] is not None:
        settings["max_tokens"] = spec["max_tokens"]
    return settings


def _spent(usage: RunUsage, toolbox: Toolbox, ledger: Ledger) -> dict[str, Any]:
    spent: dict[str, Any] = {
        "calls": usage.requests,
        "tool_calls": toolbox.calls,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": None if usage.cost is None else float(usage.cost),
    }
    return spent | ({"replayed": ledger.replayed} if ledger.replayed else {})
