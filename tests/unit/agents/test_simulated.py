"""The stand-in for a model: useful, marked, always the same, and without pydantic-ai."""

import subprocess
import sys

import pytest

from runtime.errors import StepFailed

PROMPT = "Order: EL-20418\n\nThe pump EL-20418 of Jane Roe loses pressure since Monday. She has 2 pumps of this kind. The yard is closed on Friday."


async def look_up(order: str, days: int = 3) -> str:
    """Look an order up."""
    return f"Order {order} left the warehouse {days} days ago with the carrier."


async def count(pumps: int) -> dict:
    return {"pumps": pumps, "remark": "Two pumps are in the yard, both of them tested."}


async def test_text(simulated):
    outcome = await simulated(PROMPT, instructions="Answer shortly.")
    assert outcome.output.startswith("[simulated] ")
    assert "loses pressure since Monday" in outcome.output
    assert outcome.usage["simulated"] is True
    assert (outcome.usage["calls"], outcome.usage["cost_usd"]) == (1, 0.0)


async def test_nothing_to_read(simulated):
    assert (await simulated("")).output == "[simulated] There was nothing to read."


async def test_tools_are_called_once_each_with_arguments_from_the_prompt(simulated, functions):
    tools = [functions.add(look_up), functions.add(count)]
    outcome = await simulated(PROMPT, tools=tools)
    assert functions.called == [("look_up", {"order": "EL-20418"}), ("count", {"pumps": 2})]
    assert "left the warehouse 3 days ago" in outcome.output
    assert "both of them tested" in outcome.output
    assert (outcome.usage["calls"], outcome.usage["tool_calls"]) == (2, 2)


@pytest.mark.parametrize(("limits", "called"), [({"turns": 1}, 0), ({"tool_calls": 0}, 0), ({"tool_calls": 1}, 1)])
async def test_limits_are_kept(simulated, functions, limits, called):
    await simulated(PROMPT, tools=[functions.add(look_up), functions.add(count)], limits=limits)
    assert len(functions.called) == called


async def test_a_failing_tool_does_no_harm(simulated, functions):
    async def broken() -> str:
        raise ValueError("no")

    assert (await simulated(PROMPT, tools=[functions.add(broken)])).output.startswith("[simulated] ")


async def test_a_tool_may_end_the_step(simulated, functions):
    async def forbidden() -> str:
        raise StepFailed("not_today", "closed", retryable=False)

    with pytest.raises(StepFailed) as caught:
        await simulated(PROMPT, tools=[functions.add(forbidden)])
    assert caught.value.error_code == "not_today"


async def test_tool_calls_are_journalled_and_not_repeated(simulated, functions):
    bodies = []

    async def record(body):
        bodies.append(body)

    reference = functions.add(look_up)
    first = await simulated(PROMPT, tools=[reference], record=record)
    assert [body["name"] for body in bodies] == ["tool:look_up"]
    again = await simulated(PROMPT, tools=[reference], replay=bodies, record=record)
    assert (again.output, len(functions.called), len(bodies), again.usage["replayed"]) == (first.output, 1, 1, 1)


async def test_a_schema_nobody_can_satisfy(simulated):
    with pytest.raises(StepFailed) as caught:
        await simulated(PROMPT, output={"type": "integer", "minimum": 2, "maximum": 1})
    assert (caught.value.error_code, caught.value.retryable) == ("simulation_impossible", False)


async def test_the_seed_decides_what_the_text_does_not(simulated):
    schema = {"enum": [f"w{number}" for number in range(50)]}
    answers = [(await simulated(PROMPT, output=schema, seed=seed)).output for seed in (1, 1, 2, 3)]
    assert answers[0] == answers[1]
    assert len(set(answers)) > 1


def test_pydantic_ai_is_not_imported():
    code = (
        "import sys, runtime.agents.loop, runtime.agents.simulated, runtime.agents.providers; sys.exit('pydantic_ai' in sys.modules or 'openai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
