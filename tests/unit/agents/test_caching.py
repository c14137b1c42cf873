"""Answers that are given again, over real HTTP in each wire format: the same question only, and never at the step's risk."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from pydantic_ai.messages import ModelResponse

from runtime.agents.caching import Caching
from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.loop import run_agent, warm
from runtime.agents.providers import Providers
from runtime.errors import StoreUnavailable
from runtime.settings import Settings
from runtime.store.cached_call_protocol import MAX_ANSWER_BYTES, CachedCall
from tests.support.openai_server import Output, Refusal, Refuse, Text, ToolCalls
from tests.support.wires import WIRES, Given, Wire, wires

NOTE = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}


class Drawer:
    """A cache in memory. `fails`: what it raises."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], CachedCall] = {}
        self.fails: Exception | None = None
        self.hangs = False

    async def find(self, tenant: str, digest: str, now: int) -> CachedCall | None:
        await self._trouble()
        row = self.rows.get((tenant, digest))
        return row if row is not None and row.expires_at > now else None

    async def keep(self, call: CachedCall) -> None:
        await self._trouble()
        self.rows[call.tenant, call.digest] = call

    async def _trouble(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def drawer() -> Drawer:
    return Drawer()


@pytest.fixture(params=WIRES)
async def wire(request) -> AsyncIterator[Wire]:
    await warm()
    async with wires(request.param) as (made,):
        yield made


@pytest.fixture
async def ask(wire, drawer, functions) -> AsyncIterator[Callable[..., Any]]:
    """Run an agent over the wire, with the cache in front."""
    providers = Providers(Settings(), Given({wire.provider: wire.credential()}))

    async def run(*, tenant="default", workflow="w", ttl=60_000, now=1_000, replay=(), record=None, model=None, cached=True, **more: Any) -> AgentOutcome:
        options = {name: more.pop(name) for name in ("shared", "read") if name in more}
        layers = [Caching(drawer, tenant, workflow, ttl, now=lambda: now, **options)] if cached else []
        context = AgentContext(providers, functions.resolve, tenant=tenant, timeout=20, replay=replay, record=record, layers=layers)
        return await run_agent({"prompt": "the question", **more}, mode="live", default_model=model or wire.model, context=context)

    yield run
    await providers.aclose()


async def test_the_same_question_is_asked_once(wire, ask) -> None:
    wire.server.say(Text("blue"), Text("red"))
    bodies: list[dict[str, Any]] = []

    async def record(body: dict[str, Any]) -> None:
        bodies.append(body)

    first, second = await ask(record=record), await ask(record=record)
    assert (first.output, second.output, wire.server.calls) == ("blue", "blue", 1)
    assert "cached" not in first.usage
    assert (second.usage["cached"], second.usage["input_tokens"], second.usage["output_tokens"]) == (1, 0, 0)
    assert "cached" not in bodies[0]
    assert bodies[1]["cached"] is True
    assert second.usage["model"] == wire.model
    replayed = await ask(replay=bodies[1:], cached=False)
    assert (replayed.output, replayed.usage["cached"], wire.server.calls) == ("blue", 1, 1)


OTHER: list[dict[str, Any]] = [
    {"prompt": "another question"},
    {"instructions": "Be brief."},
    {"temperature": 0.5},
    {"max_tokens": 100},
    {"output": NOTE},
    {"history": [{"role": "user", "content": "before"}, {"role": "assistant", "content": "that"}]},
    {"tenant": "other"},
    {"workflow": "another"},
    {"now": 61_001},
    {"read": False},
    {"model": "{provider}:another-model"},
]


@pytest.mark.parametrize("change", OTHER, ids=lambda change: next(iter(change)))
async def test_another_question_is_asked(wire, ask, change) -> None:
    wire.server.default = lambda request: Output({"title": "x"}) if "final_result" in request.tools else Text("x")
    await ask()
    await ask(**{name: value.format(provider=wire.provider) if name == "model" else value for name, value in change.items()})
    assert wire.server.calls == 2


async def test_workflows_of_a_tenant_share_what_both_say_they_share(wire, ask) -> None:
    await ask(workflow="a", shared=True)
    await ask(workflow="b", shared=True)
    assert wire.server.calls == 1
    await ask(workflow="a")
    await ask(workflow="b", shared=True, tenant="other")
    assert wire.server.calls == 3


async def test_a_shorter_patience_with_old_answers(wire, ask) -> None:
    await ask(ttl=60_000)
    await ask(ttl=2_000, now=2_500)
    assert wire.server.calls == 1
    await ask(ttl=2_000, now=3_001)
    assert wire.server.calls == 2


async def test_a_talk_with_tools_is_given_again_as_a_whole(wire, ask, functions) -> None:
    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    tool = functions.add(add)
    for _ in range(2):
        wire.server.say(ToolCalls(("add", {"a": 1, "b": 2})), Text("three"))
        outcome = await ask(tools=[tool])
        assert outcome.output == "three"
    assert (wire.server.calls, len(functions.called)) == (2, 2), "tools are called: they may have effects"
    assert outcome.usage["cached"] == 2


async def test_ids_of_tool_calls_make_no_other_question(wire, ask, functions, drawer) -> None:
    """The first answer is asked for anew and brings another id; the question that follows from it is the same all the same."""

    async def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    tool = functions.add(add)
    wire.server.say(ToolCalls(("add", {"a": 1, "b": 2})), Text("three"), ToolCalls(("add", {"a": 1, "b": 2})))
    await ask(tools=[tool])
    del drawer.rows[next(iter(drawer.rows))]
    outcome = await ask(tools=[tool])
    assert (outcome.output, outcome.usage["cached"], wire.server.calls) == ("three", 1, 3)


@pytest.mark.parametrize("answer", [Refuse(500), Refuse(429), Refusal("")], ids=["500", "429", "content"])
async def test_what_is_no_answer_is_not_kept(wire, ask, drawer, answer) -> None:
    wire.server.default = lambda request: answer
    with pytest.raises(Exception, match=r".+"):
        await ask()
    assert drawer.rows == {}


async def test_a_very_long_answer_is_not_kept(wire, ask, drawer) -> None:
    wire.server.default = lambda request: Text("x" * MAX_ANSWER_BYTES)
    await ask()
    assert drawer.rows == {}


@pytest.mark.parametrize("trouble", [StoreUnavailable("away"), None], ids=["fails", "hangs"])
async def test_without_the_cache_the_model_is_asked(wire, ask, drawer, monkeypatch, trouble) -> None:
    monkeypatch.setattr("runtime.agents.caching.PATIENCE_SECONDS", 0.05)
    drawer.fails, drawer.hangs = trouble, trouble is None
    assert (await ask()).output == "an answer"
    assert (await ask()).output == "an answer"
    assert wire.server.calls == 2


@pytest.mark.parametrize("damage", ["", "{}", '{"response": 1, "saved_usd": null}', '{"response": {"kind": "request", "parts": []}, "saved_usd": null}'])
async def test_a_damaged_entry_is_none(wire, ask, drawer, damage) -> None:
    await ask()
    for place, row in list(drawer.rows.items()):
        drawer.rows[place] = CachedCall(row.tenant, row.digest, row.workflow, row.model, row.created_at, row.expires_at, damage)
    assert (await ask()).output == "an answer"
    assert wire.server.calls == 2


async def test_what_was_saved_is_told(wire, ask, monkeypatch) -> None:
    priced = ModelResponse.__init__

    def with_price(self: ModelResponse, *args: Any, **options: Any) -> None:
        priced(self, *args, **options)
        self.usage.cost = Decimal("0.0125")

    monkeypatch.setattr(ModelResponse, "__init__", with_price)
    await ask()
    monkeypatch.undo()
    bodies: list[dict[str, Any]] = []

    async def record(body: dict[str, Any]) -> None:
        bodies.append(body)

    outcome = await ask(record=record)
    assert (outcome.usage["saved_usd"], bodies[0]["usage"]["saved_usd"]) == (0.0125, 0.0125)
    assert "cost" not in bodies[0]["usage"]
