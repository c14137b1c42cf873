"""Calls of tools that wait, over real HTTP in both wire formats: nothing is asked twice, nothing is paid twice, and the model hears what became of them."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from runtime.agents.consent import form_of, needs_consent
from runtime.agents.context import AgentContext, AgentOutcome
from runtime.agents.loop import run_agent
from runtime.agents.providers import Providers
from runtime.agents.tools import Tool
from runtime.definition.schemas import check_value, schema_problem
from runtime.errors import StepFailed
from runtime.references import reference
from runtime.settings import Settings
from tests.support.openai_server import Output, Text, ToolCalls
from tests.support.wires import Given, Wire, wires

FLOW = {"workflow": "widen", "approve": "never"}


@pytest.fixture(params=["openai", "anthropic"])
async def wire(request) -> AsyncIterator[Wire]:
    async with wires(request.param) as (made,):
        yield made


class Flows:
    """Toolsets of one workflow, and what is stored."""

    def __init__(self) -> None:
        self.asked = 0
        self.stored: dict[str, bytes] = {}

    async def offers(self, entries: Any) -> Any:
        self.asked += 1
        return [entry["workflow"] for entry in entries]

    async def load(self, kept: Any) -> list[dict[str, Any]]:
        return [{"entry": at, "name": name} for at, name in enumerate(kept)]

    def tool(self, offer: dict[str, Any]) -> Tool:
        schema = {"type": "object", "properties": {"depth": {"type": "integer"}}, "required": ["depth"]}
        return Tool(offer["name"], "Look further.", schema, self.never, workflow={"workflow": offer["name"], "version": "0" * 64})

    async def never(self, args: dict[str, Any], mark: str) -> Any:
        raise AssertionError((args, mark))

    async def read(self, digest: str) -> bytes:
        return self.stored[digest]

    def store(self, value: Any) -> dict[str, Any]:
        data = json.dumps(value).encode()
        self.stored["d" * 64] = data
        return reference("d" * 64, len(data))


class Journal:
    """Attempts of one step, and the calls they have left."""

    def __init__(self, attempt: Callable[..., Any], flows: Flows) -> None:
        self.calls: list[dict[str, Any]] = []
        self.flows = flows
        self._attempt = attempt

    async def __call__(self, **agent: Any) -> AgentOutcome:
        return await self._attempt(self, **agent)

    async def record(self, body: dict[str, Any]) -> None:
        self.calls.append(json.loads(json.dumps(body)))

    def answer(self, ask: dict[str, Any], **result: Any) -> None:
        """What the engine writes down."""
        self.calls.append({"name": "answer", "n": 1, "id": ask["call"], "result": result})

    @property
    def names(self) -> list[str]:
        return [call["name"] for call in self.calls]


@pytest.fixture
async def step(wire, functions) -> AsyncIterator[Journal]:
    """Make attempts of one step, each with what the ones before have journalled."""
    providers = Providers(Settings(), Given({wire.provider: wire.credential()}))

    async def attempt(journal: Journal, **agent: Any) -> AgentOutcome:
        flows = journal.flows
        context = AgentContext(
            providers, functions.resolve, timeout=20, replay=tuple(journal.calls), record=journal.record, toolsets=flows, load=flows.read, keep_messages=True
        )
        return await run_agent({"prompt": "the question", **agent}, mode="live", default_model=wire.model, context=context)

    yield Journal(attempt, Flows())
    await providers.aclose()


async def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


async def look(what: str) -> str:
    """Look something up."""
    return f"saw {what}"


def careful(functions, approve: str = "always", **more: Any) -> dict[str, Any]:
    return {"function": functions.add(pay), "approve": approve, **more}


async def test_a_call_waits_for_a_person_and_the_others_do_not(wire, step, functions):
    tools = [careful(functions, expires="1m"), functions.add(look)]
    wire.server.say(ToolCalls(("pay", {"amount": 3}), ("look", {"what": "bill"}), ("pay", {"amount": 4})), Text("done"))
    first = await step(tools=tools)
    assert functions.called == [("look", {"what": "bill"})]
    assert [(ask["for"], ask["tool"], ask["show"], ask["expires"]) for ask in first.asks] == [
        ("approval", "pay", {"tool": "pay", "args": {"amount": amount}}, 60_000) for amount in (3, 4)
    ]
    assert first.asks[0]["message"] == 'The agent wants to call pay with {"amount":3}'
    assert (first.output, first.usage["calls"], step.names) == (None, 1, ["model", "tool:look"])
    assert len({ask["call"] for ask in first.asks}) == 2
    for ask in first.asks:
        step.answer(ask, approved=True, by="ann", form={})
    second = await step(tools=tools)
    assert (second.output, second.asks, wire.server.calls) == ("done", (), 2)
    assert functions.called[1:] == [("pay", {"amount": 3}), ("pay", {"amount": 4})]
    assert wire.server.requests[1].texts("tool") == ["paid 3", "saw bill", "paid 4"]
    third = await step(tools=tools)
    assert (third.output, third.usage["replayed"], len(functions.called), wire.server.calls) == ("done", 5, 3, 2)
    assert [message["role"] for message in third.messages] == ["user", "assistant", "tool", "tool", "tool", "assistant"]


async def test_one_answer_of_two_is_not_enough_but_is_not_lost(wire, step, functions):
    tools = [careful(functions)]
    wire.server.say(ToolCalls(("pay", {"amount": 3}), ("pay", {"amount": 4})), Text("done"))
    first = await step(tools=tools)
    step.answer(first.asks[0], approved=True)
    second = await step(tools=tools)
    assert ([ask["call"] for ask in second.asks], functions.called) == ([first.asks[1]["call"]], [("pay", {"amount": 3})])
    step.answer(second.asks[0], approved=True)
    assert (await step(tools=tools)).output == "done"
    assert [args["amount"] for _, args in functions.called] == [3, 4]


async def test_the_model_is_told_why_a_call_was_rejected(wire, step, functions):
    tools = [careful(functions)]
    wire.server.say(ToolCalls(("pay", {"amount": 3}), ("pay", {"amount": 4})), Text("never mind"))
    first = await step(tools=tools)
    step.answer(first.asks[0], approved=False, comment="far too much", by="ann")
    step.answer(first.asks[1], approved=False, by="expiry")
    second = await step(tools=tools)
    assert (second.output, functions.called) == ("never mind", [])
    rejected, late = wire.server.requests[1].texts("tool")
    assert "a person has rejected this call; it was not made: far too much" in rejected
    assert "nobody has approved this call in time" in late
    assert step.names == ["model", "answer", "answer", "tool:pay", "tool:pay", "model"]


async def test_a_person_changes_the_arguments_and_the_model_knows(wire, step, functions):
    tools = [careful(functions)]
    wire.server.say(ToolCalls(("pay", {"amount": 30}), ("pay", {"amount": 40})), Text("done"))
    first = await step(tools=tools)
    form = first.asks[0]["form"]
    assert check_value(form, {"args": {"amount": 3}}) == []
    assert check_value(form, {}) == []
    assert [problem.pointer for problem in check_value(form, {"args": {"amount": "three"}})] == ["/args/amount"]
    step.answer(first.asks[0], approved=True, form={"args": {"amount": 3}})
    step.answer(first.asks[1], approved=True, form=step.flows.store({"args": {"amount": 4}}))
    assert (await step(tools=tools)).output == "done"
    assert [args["amount"] for _, args in functions.called] == [3, 4]
    told = wire.server.requests[1].texts("tool")[0]
    assert "a person has changed the arguments of this call" in told
    assert "paid 3" in told


async def test_a_condition_decides_which_calls_wait(wire, step, functions):
    tools = [careful(functions, "args.amount > 100")]
    wire.server.say(ToolCalls(("pay", {"amount": 100}), ("pay", {"amount": 101})), Text("done"))
    first = await step(tools=tools)
    assert ([ask["show"]["args"] for ask in first.asks], functions.called) == ([{"amount": 101}], [("pay", {"amount": 100})])


async def test_wrong_arguments_are_repaired_before_anybody_is_asked(wire, step, functions):
    tools = [careful(functions)]
    wire.server.say(ToolCalls(("pay", {"amount": "all"})), ToolCalls(("pay", {"amount": 3})), Text("done"))
    first = await step(tools=tools)
    assert ([ask["show"]["args"] for ask in first.asks], wire.server.calls) == ([{"amount": 3}], 2)


async def test_an_answer_beside_a_call_that_waits_is_given_after_it(wire, step, functions):
    tools, output = [careful(functions)], {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wire.server.say(ToolCalls(("pay", {"amount": 3}), ("final_result", {"ok": True})))
    first = await step(tools=tools, output=output)
    assert (first.output, len(first.asks)) == (None, 1)
    step.answer(first.asks[0], approved=True)
    second = await step(tools=tools, output=output)
    assert (second.output, functions.called, wire.server.calls) == ({"ok": True}, [("pay", {"amount": 3})], 1)


@pytest.mark.parametrize("output", [{"type": "array"}, {"type": "object", "properties": {"me": {"$ref": "#"}}}], ids=["wrapped", "text"])
async def test_every_shape_of_an_answer_goes_with_calls_that_wait(wire, step, functions, output):
    value = [] if output["type"] == "array" else {}
    wire.server.say(ToolCalls(("pay", {"amount": 3})), Output({"value": []}) if value == [] else Text("{}"))
    first = await step(tools=[careful(functions)], output=output)
    step.answer(first.asks[0], approved=True)
    assert (await step(tools=[careful(functions)], output=output)).output == value


async def test_a_workflow_carries_a_call_out(wire, step):
    wire.server.say(ToolCalls(("widen", {"depth": 2}), ("widen", {"depth": 3}), ("widen", {"depth": 4})), Text("done"))
    first = await step(tools=[FLOW])
    assert [(ask["for"], ask["workflow"], ask["version"], ask["inputs"]) for ask in first.asks] == [
        ("child", "widen", "0" * 64, {"depth": depth}) for depth in (2, 3, 4)
    ]
    assert step.names == ["tools", "model"]
    step.answer(first.asks[0], output={"found": 7})
    step.answer(first.asks[1], error={"code": "child_failed", "message": "it rained"})
    step.answer(first.asks[2], output=step.flows.store({"$artifact": "just JSON"}))
    second = await step(tools=[FLOW])
    assert (second.output, wire.server.calls, step.flows.asked) == ("done", 2, 1)
    good, bad, stored = wire.server.requests[1].texts("tool")
    assert json.loads(good) == {"found": 7}
    assert "the run has failed: it rained" in bad
    assert json.loads(stored) == {"$artifact": "just JSON"}


async def test_a_result_of_a_workflow_has_the_bound_of_every_result(wire, step):
    wire.server.say(ToolCalls(("widen", {"depth": 2})), Text("done"))
    first = await step(tools=[FLOW])
    step.answer(first.asks[0], output=reference("e" * 64, 1 << 20))
    assert (await step(tools=[FLOW])).output == "done"
    assert "the result has 1048576 bytes" in wire.server.requests[1].texts("tool")[0]


async def test_a_workflow_waits_for_a_person_first_and_for_its_run_then(wire, step):
    tools = [FLOW | {"approve": "args.depth > 1"}]
    wire.server.say(ToolCalls(("widen", {"depth": 2})), Text("done"))
    (asked,) = (await step(tools=tools)).asks
    step.answer(asked, approved=True, form={"args": {"depth": 1}})
    (child,) = (await step(tools=tools)).asks
    assert (asked["for"], child["for"], child["inputs"]) == ("approval", "child", {"depth": 1})
    step.answer(child, output="wide")
    assert (await step(tools=tools)).output == "done"
    assert "wide" in wire.server.requests[1].texts("tool")[0]
    assert wire.server.calls == 2


async def test_an_answer_that_could_not_be_used_takes_its_approvals_with_it(wire, step, functions):
    """The next attempt asks the model anew, and so whoever agreed to something else."""
    output = {"type": "object", "required": ["title"], "properties": {"title": {"type": "string"}}}
    tools = [careful(functions)]
    wire.server.say(ToolCalls(("pay", {"amount": 3})), *[Output({"title": 1})] * 4)
    first = await step(tools=tools, output=output)
    step.answer(first.asks[0], approved=True)
    with pytest.raises(StepFailed):
        await step(tools=tools, output=output)
    wire.server.say(ToolCalls(("pay", {"amount": 300})))
    (again,) = (await step(tools=tools, output=output)).asks
    assert again["show"]["args"] == {"amount": 300}


async def test_a_tool_that_ends_the_step_ends_it_beside_calls_that_wait(wire, step, functions):
    async def forbidden() -> str:
        raise StepFailed("not_today", "closed", retryable=False)

    wire.server.say(ToolCalls(("pay", {"amount": 3}), ("forbidden", {})))
    with pytest.raises(StepFailed, match="closed"):
        await step(tools=[careful(functions), functions.add(forbidden)])


async def test_wherever_an_attempt_was_cut_off_the_next_one_pays_for_the_rest_alone(wire, step, functions):
    tools = [careful(functions), FLOW, functions.add(look)]
    calls = ToolCalls(("pay", {"amount": 3}), ("look", {"what": "bill"}), ("widen", {"depth": 2}))
    wire.server.default = lambda request: Text("done") if request.texts("tool") else calls

    async def to_the_end() -> None:
        for _ in range(3):
            outcome = await step(tools=tools)
            for ask in outcome.asks:
                step.answer(ask, **({"approved": True} if ask["for"] == "approval" else {"output": "wide"}))
            if not outcome.asks:
                assert outcome.output == "done"
                return
        raise AssertionError("it asks for ever")

    await to_the_end()
    whole = step.calls
    assert sorted(step.names) == ["answer", "answer", "model", "model", "tool:look", "tool:pay", "tool:widen", "tools"]
    for cut in range(len(whole)):
        step.calls = whole[:cut]
        before = wire.server.calls, len(functions.called)
        await to_the_end()
        assert sorted(step.names) == sorted(call["name"] for call in whole)
        missing = [call["name"] for call in whole[cut:]]
        functions_missing = [name for name in missing if name in ("tool:pay", "tool:look")]
        assert (wire.server.calls - before[0], len(functions.called) - before[1]) == (missing.count("model"), len(functions_missing))


# --- without a wire --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("approve", "args", "asked"),
    [
        ("always", {}, True),
        ("never", {}, False),
        ("args.n > 3", {"n": 4}, True),
        ("args.n > 3", {"n": 3}, False),
        ("args.n > 3", {}, True),
        ("args.n > 3", {"n": "four"}, True),
        ("args.n", {"n": 1}, True),
        ("has(args.n)", {}, False),
    ],
)
def test_what_cannot_be_decided_a_person_decides(approve, args, asked):
    assert needs_consent(approve, args) is asked


def test_a_form_takes_definitions_along():
    parameters = {"type": "object", "properties": {"to": {"$ref": "#/$defs/mail"}}, "$defs": {"mail": {"type": "string", "minLength": 3}}}
    form = form_of(parameters)
    assert schema_problem(form) is None
    assert check_value(form, {"args": {"to": "me"}})
    assert check_value(form, {"args": {"to": "you"}}) == []
    assert check_value(form, {"arguments": {}})


async def simulate(functions, flows: Flows, calls: list[dict[str, Any]], tools: list[Any]) -> AgentOutcome:
    async def record(body: dict[str, Any]) -> None:
        calls.append(body)

    context = AgentContext(Providers(Settings()), functions.resolve, replay=tuple(calls), record=record, toolsets=flows, load=flows.read)
    return await run_agent({"prompt": "Pumps leak. amount: 7, depth: 2", "tools": tools}, mode="simulated", default_model=None, context=context)


async def test_simulated_agents_wait_as_live_ones_do(functions):
    tools = [FLOW, careful(functions), functions.add(look), {"mcp": "elsewhere"}]
    flows, calls = Flows(), list[dict[str, Any]]()
    first = await simulate(functions, flows, calls, tools)
    child, approval = first.asks
    assert (approval["for"], child["for"], child["workflow"]) == ("approval", "child", "widen")
    assert [name for name, _ in functions.called] == ["look"]
    calls.append({"name": "answer", "n": 1, "id": approval["call"], "result": {"approved": True, "form": {"args": {"amount": 9}}}})
    calls.append({"name": "answer", "n": 1, "id": child["call"], "result": {"output": "It was rust."}})
    second = await simulate(functions, flows, calls, tools)
    assert second.output.startswith("[simulated] ")
    assert functions.called[1:] == [("pay", {"amount": 9})]
    assert {"value": "It was rust."} in [call["result"] for call in calls]
