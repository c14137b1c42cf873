"""Calls the tools of one agent step: arguments checked, people asked, results bounded and journalled, failures told to the model."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

import structlog
from pydantic_core import PydanticSerializationError, from_json, to_json

from runtime.agents.asked import of_tool
from runtime.agents.attachments import Load
from runtime.agents.consent import CallWaits, changed, form_of, needs_consent, refusal
from runtime.agents.ledger import Ledger, storable
from runtime.agents.tools import Tool, ToolRefused
from runtime.definition.schemas import check_value
from runtime.errors import AgenticError, Problem, StepFailed
from runtime.redaction import redact
from runtime.references import REFERENCE, is_reference
from runtime.tracing import names
from runtime.tracing.attempts import AttemptSpan

MAX_RESULT = 64 * 1024
"""Bytes of JSON a tool may give to a model; a larger result is a failure the model is told of."""
MAX_MESSAGE = 1_000
MAX_QUESTION = 300
"""Characters of what a person is asked; all arguments stand in what is shown beside it."""

log = structlog.get_logger(__name__)


class Toolbox:
    """The tools of one agent, and how often they may still be used."""

    def __init__(self, tools: Sequence[Tool], ledger: Ledger, limit: int, load: Load | None = None, span: AttemptSpan | None = None) -> None:
        """`load` reads what is stored: large answers of people and of other runs. `span`: of the attempt, when it is traced; each call
        that is made is a span beneath it."""
        self._tools = {tool.name: tool for tool in tools}
        self._ledger = ledger
        self._limit = limit
        self._load = load
        self._span = span
        self._marks: Counter[str] = Counter()
        self.calls = 0
        self.asks: list[dict[str, Any]] = []
        """What has to be answered before these calls can go on (runtime/engine/asks.py)."""

    @property
    def tools(self) -> list[Tool]:
        """In the order the agent names them."""
        return list(self._tools.values())

    @staticmethod
    def as_text(value: Any) -> str:
        """A result as JSON text."""
        return to_json(value).decode()

    def problems(self, name: str, args: dict[str, Any]) -> list[Problem]:
        """What is wrong with these arguments."""
        return check_value(self._tools[name].parameters, args)

    async def call(self, name: str, args: dict[str, Any], call_id: str | None = None) -> dict[str, Any]:
        """`{"value": JSON}`, or `{"failed": sentence}` when the tool raised: the model decides what to make of it.

        Raises StepFailed: `agent_limit`, or what the tool itself raises as StepFailed, which ends the step; CallWaits, once `asks` says for what.
        """
        self.calls += 1
        if self.calls > self._limit:
            raise StepFailed("agent_limit", f"the agent wanted more than {self._limit} tool calls", retryable=False)
        mark = self._mark(name, call_id)
        result: dict[str, Any] = await self._ledger.call(
            f"tool:{name}", lambda: self._traced(name, args, mark, call_id), call_id=call_id, asked=lambda: of_tool(name, args)
        )
        return result

    def _mark(self, name: str, call_id: str | None) -> str:
        # Some models count their calls from one again in each answer.
        mark = f"{name} {call_id or ''}"
        self._marks[mark] += 1
        return f"{mark} {self._marks[mark]}"

    async def _traced(self, name: str, args: dict[str, Any], mark: str, call_id: str | None) -> dict[str, Any]:
        if self._span is None:
            return await self._execute(name, args, mark)
        with self._span.tool(name, call_id, args) as opened:
            try:
                result = await self._execute(name, args, mark)
                opened.error = "tool_failed" if "failed" in result else None
                opened.attributes[names.TOOL_RESULT] = self._span.tracer.shown(result)
                return result
            except CallWaits as asked:
                waits = asked  # no failure: the call is made again, in a span of its own, when there is an answer
        raise waits

    async def _execute(self, name: str, args: dict[str, Any], mark: str) -> dict[str, Any]:
        tool, wanted = self._tools[name], args
        try:
            if needs_consent(tool.approve, args):
                args = await self._agreed(tool, args, mark)
            value = await (tool.invoke(args, mark) if tool.workflow is None else self._of_child(tool, tool.workflow, args, mark))
            data = to_json(value, inf_nan_mode="strings")
            if len(data) > MAX_RESULT:
                return _too_large(len(data))
            result = redact.value(from_json(data), data.decode())
            return {"value": result if args == wanted else changed(args, result)}
        except (AgenticError, CallWaits):
            raise
        except ToolRefused as reason:
            return _failed(str(reason))
        except PydanticSerializationError as error:
            return _failed(f"the result is not JSON: {error}")
        except Exception as error:
            log.warning("tool_failed", tool=name, exc_info=True)
            return _failed(f"{type(error).__name__}: {error}")

    async def _agreed(self, tool: Tool, args: dict[str, Any], mark: str) -> dict[str, Any]:
        """The arguments a person has agreed to. Raises ToolRefused when they have not, CallWaits while nobody has decided."""
        answer = self._ledger.answer(mark)
        if answer is None:
            message = f"The agent wants to call {tool.name} with {self.as_text(args)}"
            message = message if len(message) <= MAX_QUESTION else message[: MAX_QUESTION - 1] + "…"
            shown = {"message": message, "show": {"tool": tool.name, "args": args}}
            self._wait("approval", mark, tool, {**shown, "form": form_of(tool.parameters), "expires": tool.expires})
        if not answer["approved"]:
            raise ToolRefused(refusal(answer))
        form = await self._whole(answer.get("form"))
        return form["args"] if form and "args" in form else args

    async def _of_child(self, tool: Tool, workflow: dict[str, Any], args: dict[str, Any], mark: str) -> Any:
        """The output of the run that has carried the call out. Raises ToolRefused when it failed, CallWaits while it goes on."""
        answer = self._ledger.answer(f"{mark} run")
        if answer is None:
            self._wait("child", f"{mark} run", tool, {**workflow, "inputs": args})
        if "error" in answer:
            raise ToolRefused(f"the run has failed: {answer['error']['message']}")
        output = answer["output"]
        if is_reference(output) and (size := output[REFERENCE]["size"]) > MAX_RESULT:
            raise ToolRefused(_too_large(size)["failed"])
        return await self._whole(output)

    def _wait(self, what: str, call: str, tool: Tool, ask: dict[str, Any]) -> NoReturn:
        self.asks.append(storable({"for": what, "call": call, "tool": tool.name, **ask}))
        raise CallWaits

    async def _whole(self, value: Any) -> Any:
        """An answer as it was given; a large one is read from where it is stored."""
        if not is_reference(value) or self._load is None:
            return value
        return from_json(await self._load(value[REFERENCE]["sha256"]))


def _too_large(size: int) -> dict[str, Any]:
    return {"failed": f"the result has {size} bytes; at most {MAX_RESULT} can be used: ask for less"}


def _failed(sentence: str) -> dict[str, Any]:
    """Cut when it has no secrets any more: a half of one would not be found."""
    return {"failed": redact(sentence)[:MAX_MESSAGE]}
