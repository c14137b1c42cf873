"""Calls the tools of one agent step: arguments checked, results bounded and journalled, failures told to the model."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import structlog
from pydantic_core import PydanticSerializationError, from_json, to_json

from runtime.agents.ledger import Ledger
from runtime.agents.tools import Tool, ToolRefused
from runtime.definition.schemas import check_value
from runtime.errors import AgenticError, Problem, StepFailed
from runtime.redaction import redact
from runtime.tracing import names
from runtime.tracing.attempts import AttemptSpan

MAX_RESULT = 64 * 1024
"""Bytes of JSON a tool may give to a model; a larger result is a failure the model is told of."""
MAX_MESSAGE = 1_000

log = structlog.get_logger(__name__)


class Toolbox:
    """The tools of one agent, and how often they may still be used."""

    def __init__(self, tools: Sequence[Tool], ledger: Ledger, limit: int, span: AttemptSpan | None = None) -> None:
        """`span`: of the attempt, when it is traced; each call that is made is a span beneath it."""
        self._tools = {tool.name: tool for tool in tools}
        self._ledger = ledger
        self._limit = limit
        self._span = span
        self._marks: Counter[str] = Counter()
        self.calls = 0

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

        Raises StepFailed: `agent_limit`, or what the tool itself raises as StepFailed, which ends the step.
        """
        self.calls += 1
        if self.calls > self._limit:
            raise StepFailed("agent_limit", f"the agent wanted more than {self._limit} tool calls", retryable=False)
        mark = self._mark(name, call_id)
        result: dict[str, Any] = await self._ledger.call(f"tool:{name}", lambda: self._traced(name, args, mark, call_id), call_id=call_id)
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
            result = await self._execute(name, args, mark)
            opened.error = "tool_failed" if "failed" in result else None
            opened.attributes[names.TOOL_RESULT] = self._span.tracer.shown(result)
            return result

    async def _execute(self, name: str, args: dict[str, Any], mark: str) -> dict[str, Any]:
        try:
            value = await self._tools[name].invoke(args, mark)
            data = to_json(value, inf_nan_mode="strings")
            if len(data) > MAX_RESULT:
                return {"failed": f"the result has {len(data)} bytes; at most {MAX_RESULT} can be used: ask for less"}
            return {"value": redact.value(from_json(data), data.decode())}
        except AgenticError:
            raise
        except ToolRefused as refusal:
            return _failed(str(refusal))
        except PydanticSerializationError as error:
            return _failed(f"the result is not JSON: {error}")
        except Exception as error:
            log.warning("tool_failed", tool=name, exc_info=True)
            return _failed(f"{type(error).__name__}: {error}")


def _failed(sentence: str) -> dict[str, Any]:
    """Cut when it has no secrets any more: a half of one would not be found."""
    return {"failed": redact(sentence)[:MAX_MESSAGE]}
