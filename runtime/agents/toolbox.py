"""Calls the tools of one agent step: arguments checked, results bounded and journalled, failures told to the model."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import structlog
from pydantic_core import PydanticSerializationError, from_json, to_json

from runtime.agents.asked import of_tool
from runtime.agents.ledger import Ledger
from runtime.agents.tools import Tool, ToolRefused
from runtime.definition.schemas import check_value
from runtime.errors import AgenticError, Problem, StepFailed

MAX_RESULT = 64 * 1024
"""Bytes of JSON a tool may give to a model; a larger result is a failure the model is told of."""
MAX_MESSAGE = 1_000

log = structlog.get_logger(__name__)


class Toolbox:
    """The tools of one agent, and how often they may still be used."""

    def __init__(self, tools: Sequence[Tool], ledger: Ledger, limit: int) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._ledger = ledger
        self._limit = limit
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
        result: dict[str, Any] = await self._ledger.call(
            f"tool:{name}", lambda: self._execute(name, args, mark), call_id=call_id, asked=lambda: of_tool(name, args)
        )
        return result

    def _mark(self, name: str, call_id: str | None) -> str:
        # Some models count their calls from one again in each answer.
        mark = f"{name} {call_id or ''}"
        self._marks[mark] += 1
        return f"{mark} {self._marks[mark]}"

    async def _execute(self, name: str, args: dict[str, Any], mark: str) -> dict[str, Any]:
        try:
            value = await self._tools[name].invoke(args, mark)
            data = to_json(value, inf_nan_mode="strings")
            if len(data) > MAX_RESULT:
                return {"failed": f"the result has {len(data)} bytes; at most {MAX_RESULT} can be used: ask for less"}
            return {"value": from_json(data)}
        except AgenticError:
            raise
        except ToolRefused as refusal:
            return {"failed": str(refusal)[:MAX_MESSAGE]}
        except PydanticSerializationError as error:
            return {"failed": f"the result is not JSON: {error}"[:MAX_MESSAGE]}
        except Exception as error:
            log.warning("tool_failed", tool=name, exc_info=True)
            return {"failed": f"{type(error).__name__}: {error}"[:MAX_MESSAGE]}
