"""An agent step with a real model, on pydantic-ai: it asks, calls the tools it is told to, checks the answer, and asks again."""

import json
from functools import lru_cache
from typing import Any

from pydantic_ai import Agent, ModelRetry, RunContext, ToolFailed, UsageLimits
from pydantic_ai import Tool as FunctionTool
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RunUsage

from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.failures import classify
from runtime.agents.ledger import Ledger
from runtime.agents.model import LedgerModel
from runtime.agents.output import sentences, shape_of
from runtime.agents.providers import REQUEST_SECONDS
from runtime.agents.toolbox import Toolbox
from runtime.agents.tools import Tool, tools_of
from runtime.errors import StepFailed

REPAIRS = 3
"""So often a model may correct an answer, or the arguments of a tool."""


async def run_live(spec: dict[str, Any], model_id: str, context: AgentContext) -> AgentOutcome:
    """Run the loop to its answer. Raises StepFailed; its `details.usage` says what the attempt took all the same."""
    choice = context.providers.choose(model_id)
    ledger = Ledger(context.replay, context.record)
    tools = await tools_of(spec["tools"], context, ledger)
    toolbox = Toolbox(tools, ledger, spec["limits"]["tool_calls"])
    shape, agent = shape_of(_canonical(spec["output"])), _agent(_canonical(spec["output"]), _canonical([_told(tool) for tool in tools]))
    usage = RunUsage()
    try:
        result = await agent.run(
            spec["prompt"],
            instructions=[text for text in (spec["instructions"], shape.instructions) if text],
            model=LedgerModel(choice, ledger, context.observe),
            deps=toolbox,
            usage=usage,
            usage_limits=UsageLimits(request_limit=spec["limits"]["turns"], total_tokens_limit=spec["limits"]["tokens"]),
            model_settings=_settings(spec, context),
            infer_name=False,
        )
        return AgentOutcome(result.output, _spent(usage, toolbox, ledger))
    except (StepFailed, AgentRunError, UserError) as error:
        failed = classify(error, choice)
        if failed.error_code == "model_output_invalid":
            await ledger.discard()
        if usage.requests:
            failed.details["usage"] = _spent(usage, toolbox, ledger)
        raise failed from error.__cause__ if failed is error else error


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _told(tool: Tool) -> tuple[str, str, dict[str, Any]]:
    return tool.name, tool.description, tool.parameters


@lru_cache(maxsize=256)
def _agent(schema: str, tools: str) -> Agent[Toolbox, Any]:
    """One agent for all steps that ask for the same shape with the same tools; everything else comes with the run."""
    shape = shape_of(schema)
    functions = [FunctionTool.from_schema(_call, name, description, parameters, takes_ctx=True) for name, description, parameters in json.loads(tools)]
    agent = Agent(output_type=shape.output_type, tools=functions, deps_type=Toolbox, retries={"tools": REPAIRS, "output": REPAIRS})

    agent.output_validator(shape.check)
    return agent


async def _call(ctx: RunContext[Toolbox], **args: Any) -> Any:
    name = ctx.tool_name or ""
    if problems := ctx.deps.problems(name, args):
        raise ModelRetry("these arguments do not fit:\n" + sentences(problems))
    result = await ctx.deps.call(name, args, ctx.tool_call_id)
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
