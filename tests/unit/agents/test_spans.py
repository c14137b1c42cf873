"""What the calls of tools look like in a trace."""

from typing import Any

from runtime.agents.consent import CallWaits
from runtime.agents.ledger import Ledger
from runtime.agents.toolbox import Toolbox
from runtime.agents.tools import Tool
from runtime.definition.tools import ALWAYS
from runtime.tracing.attempts import AttemptSpan
from runtime.tracing.ids import new_trace
from runtime.tracing.spans import Span, Tracer


class Kept:
    """Implements `runtime.tracing.spans.Exporter`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def add(self, span: Span) -> None:
        self.spans.append(span)

    def close(self, seconds: float) -> None:
        pass

    def flush(self, seconds: float) -> None:
        pass


async def launch(args: dict[str, Any], mark: str) -> Any:
    if args["at"] == "night":
        raise ValueError("nobody is there")
    return "launched"


async def call(kept: Kept, args: dict[str, Any], *, approve: str, answer: dict[str, Any] | None = None) -> Any:
    """Call the tool once, in an attempt of its own."""
    span = AttemptSpan(Tracer(kept), new_trace(), "0" * 16, "invoke_agent a", {})
    replay = [] if answer is None else [{"name": "answer", "n": 1, "id": "launch c1 1", "result": answer}]
    toolbox = Toolbox([Tool("launch", "", {"type": "object"}, launch, approve)], Ledger(replay), 5, span=span)
    try:
        return await toolbox.call("launch", args, "c1")
    except CallWaits:
        return [ask["call"] for ask in toolbox.asks]


async def test_a_call_that_waits_has_not_failed():
    kept = Kept()
    assert await call(kept, {"at": "noon"}, approve=ALWAYS) == ["launch c1 1"]
    assert await call(kept, {"at": "noon"}, approve=ALWAYS, answer={"approved": True}) == {"value": "launched"}
    assert [(span.name, span.error) for span in kept.spans] == [("execute_tool launch", None)] * 2
    assert len({span.at.span_id for span in kept.spans}) == 2


async def test_a_call_that_is_rejected_and_one_that_raises_have():
    kept = Kept()
    await call(kept, {"at": "noon"}, approve=ALWAYS, answer={"approved": False, "comment": "not today"})
    await call(kept, {"at": "night"}, approve="never")
    assert [span.error for span in kept.spans] == ["tool_failed", "tool_failed"]
