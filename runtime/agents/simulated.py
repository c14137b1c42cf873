"""The stand-in for a model: no network, no cost, always the same answer for the same question, and an answer that can be read.

It calls each tool once, with arguments taken from the prompt, and then answers out of the prompt and what the tools said: text by its
most telling sentences, structured output by whatever satisfies the schema. Every text begins with `[simulated] `.
"""

from typing import Any

from runtime.agents.consent import CallWaits
from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.digest import MARK, Digest
from runtime.agents.filling import fill
from runtime.agents.ledger import Ledger
from runtime.agents.merging import UnsatisfiableError
from runtime.agents.messages import answered, said_by_user
from runtime.agents.toolbox import Toolbox
from runtime.agents.tools import Tool, is_function, tools_of
from runtime.errors import StepFailed

SENTENCES = 5
"""Of a text answer."""


async def run_simulated(spec: dict[str, Any], context: AgentContext) -> AgentOutcome:
    """Answer without a model. Raises StepFailed `simulation_impossible` when no value for the schema is found, and what tools raise."""
    topic, prompt = spec["instructions"], spec["prompt"]
    ledger = Ledger(context.replay, context.record, context.source)
    entries = [entry for entry in spec["tools"] if is_function(entry) or "workflow" in entry]  # the others are on the network
    toolbox = Toolbox(await tools_of(entries, context, ledger), ledger, spec["limits"]["tool_calls"], context.load, context.span) if entries else None
    said = await _ask_tools(toolbox, spec, context.seed) if toolbox is not None else []
    if toolbox is not None and toolbox.asks:
        return AgentOutcome(None, _usage(spec, said, None, toolbox, ledger), asks=tuple(toolbox.asks))
    read = [one.text for one in spec["attachments"] if one.text is not None] + said
    digest = Digest("\n\n".join([prompt, *read]) if read else prompt, topic=topic)
    output = _answer(spec["output"], digest, context.seed)
    messages = [said_by_user(prompt, [one.told for one in spec["attachments"]]), answered(output)] if context.keep_messages else None
    return AgentOutcome(output, _usage(spec, said, output, toolbox, ledger), messages)


async def _ask_tools(toolbox: Toolbox, spec: dict[str, Any], seed: int) -> list[str]:
    """What the tools say, each called once, as far as the limits go: a model needs one turn to call and another to answer."""
    if spec["limits"]["turns"] < 2:
        return []
    digest = Digest(spec["prompt"], topic=spec["instructions"])
    said = []
    for tool in toolbox.tools[: spec["limits"]["tool_calls"]]:
        try:
            result = await toolbox.call(tool.name, _arguments(tool, digest, seed))
        except CallWaits:
            continue  # with the others, so that all that wait do so together
        value = result.get("value")
        if value is not None:
            said.append(value if isinstance(value, str) else toolbox.as_text(value))
    return said


def _arguments(tool: Tool, digest: Digest, seed: int) -> dict[str, Any]:
    # What a function has a default for is left to it.
    required = tool.parameters.get("required", [])
    asked = tool.parameters | {"properties": {name: part for name, part in tool.parameters.get("properties", {}).items() if name in required}}
    arguments: dict[str, Any] = _filled(asked, digest, seed, marked=False)
    return arguments


def _answer(schema: Any, digest: Digest, seed: int) -> Any:
    if schema is None:
        return MARK + (digest.summary(SENTENCES) or "There was nothing to read.")
    return _filled(schema, digest, seed, marked=True)


def _filled(schema: Any, digest: Digest, seed: int, *, marked: bool) -> Any:
    try:
        return fill(schema, digest, seed=seed, marked=marked)
    except UnsatisfiableError as error:
        message = f"the simulated model finds no value for this schema: {error}"
        raise StepFailed("simulation_impossible", message, retryable=False) from error


def _usage(spec: dict[str, Any], said: list[str], output: Any, toolbox: Toolbox | None, ledger: Ledger) -> dict[str, Any]:
    """Tokens as a real model would count them, roughly: four characters each."""
    read = len(spec["instructions"]) + len(spec["prompt"]) + sum(map(len, said))
    usage = {
        "simulated": True,
        "calls": 2 if said else 1,
        "tool_calls": toolbox.calls if toolbox else 0,
        "input_tokens": read // 4 + 1,
        "output_tokens": len(str(output)) // 4 + 1,
        "cost_usd": 0.0,
    }
    return usage | ({"replayed": ledger.replayed} if ledger.replayed else {})
