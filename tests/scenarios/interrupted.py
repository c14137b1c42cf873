"""What holds an agent step up, and what goes on afterwards: budgets, limits, people, broken streams, crashes and cancels."""

import asyncio
import time
from collections import Counter
from typing import Any
from uuid import uuid4

from tests.scenarios.stage import PATIENCE, REQUESTS_PER_MINUTE, Stage
from tests.support.following import reading
from tests.support.openai_server import Drip, Endless, Received, Refuse, Slow, Streamed, Text, ToolCalls

LONG = "Grüße aus Köln: ☔ und 🦭, mehrmals. " * 5
BURST = REQUESTS_PER_MINUTE // 240 + 1
"""Requests that may go out at once after a pause, as docs/limits.md says, and the one that is due."""


async def budget_stop_and_ask(stage: Stage) -> None:
    """The call that does not fit is not made: the run fails, or pauses until it may spend more, and then pays for nothing twice."""
    file = str(stage.folder / "paid")
    steps = {"answer": {"agent": stage.agent("Pay.", tools=[stage.tool("pay")])}}
    stage.wire.server.say(ToolCalls(("pay", {"file": file, "amount": 1})))
    run = await stage.until(await stage.start(steps, budget={"calls": 1}))
    assert (run["status"], run["error"]["code"]) == ("failed", "budget_exceeded"), run
    told = run["error"]["details"]["budget"]
    assert (told["measure"], told["limit"]) == ("calls", 1)
    assert (stage.wire.server.calls, run["usage"]["calls"], stage.lines("paid")) == (1, 1, ["1"])

    stage.wire.server.say(ToolCalls(("pay", {"file": file, "amount": 2})), Text("paid"))
    run_id = await stage.start(steps, budget={"calls": 1, "on_exceeded": "ask"}, outputs={"text": "steps.answer.output"})
    run = await stage.until(run_id, "paused")
    assert (run["status"], run["waiting_for"], run["budget"]["exceeded"]["measure"]) == ("paused", "budget", "calls"), run
    assert (stage.wire.server.calls, stage.lines("paid")) == (2, ["1", "2"])
    resumed = await stage.api.post(f"/v1/runs/{run_id}:resume", json={"budget": {"calls": 2}})
    assert resumed.status_code == 202, resumed.text
    run = await stage.succeeded(run_id)
    assert (run["output"], run["usage"]["calls"], run["budget"]["spent"]["calls"]) == ({"text": "paid"}, 2, 2)
    assert (stage.wire.server.calls, stage.lines("paid")) == (3, ["1", "2"])
    assert stage.wire.server.requests[2].texts("tool") == ["paid 2"], "it goes on where it was"


async def rate_limited_map(stage: Stage) -> None:
    """A map goes out as fast as the key may be asked, and no faster: a provider that minds sees no reason to refuse."""
    items, second, times = 30, REQUESTS_PER_MINUTE // 60, []

    def answer(request: Received) -> Any:
        times.append(time.monotonic())
        lately = sum(times[-1] - at < 1 for at in times)
        # Twice of what is allowed, because requests that were sent evenly may arrive in a bunch on a machine that is busy.
        return Refuse(429, retry_after=1) if lately > 2 * second + BURST else Text(request.texts("user")[0])

    stage.wire.server.default = answer
    step = {"agent": stage.agent("${{ item }}"), "map": {"over": f"{list(range(items))}", "concurrency": items}}
    run_id = await stage.start({"each": step}, outputs={"said": "steps.each.output"})
    run = await stage.succeeded(run_id)
    assert run["output"] == {"said": [str(item) for item in range(items)]}
    assert Counter(request.texts("user")[0] for request in stage.wire.server.requests) == {str(item): 1 for item in range(items)}, "nothing was refused"
    # The first one may have been slow to arrive; the others cannot come before they are sent.
    least = (items - 1 - BURST) / second
    assert times[-1] - times[0] >= 0.75 * least, "all of them at once"
    most = max(sum(0 <= later - at < 1 for later in times) for at in times)
    print(f"{items} requests at {REQUESTS_PER_MINUTE} a minute in {times[-1] - times[0]:.2f} s ({least:.2f} s is the least), {most} in one second at most")


async def approval_per_tool(stage: Stage) -> None:
    """Large amounts are a person's decision: changed arguments are carried out once, a rejected call never, and the model is told both."""
    file = str(stage.folder / "paid")
    steps = {"answer": {"agent": stage.agent("Pay.", tools=[stage.tool("pay", approve="args.amount > 10")])}}
    stage.wire.server.say(
        ToolCalls(("pay", {"file": file, "amount": 100}), ("pay", {"file": file, "amount": 5})), ToolCalls(("pay", {"file": file, "amount": 70})), Text("done")
    )
    run_id = await stage.start(steps, outputs={"text": "steps.answer.output"})
    question = await stage.question(run_id)
    assert question["show"] == {"tool": "pay", "args": {"file": file, "amount": 100}}
    assert stage.lines("paid") == ["5"], "what nobody has to approve does not wait"
    await stage.decide(question, approved=True, form={"args": {"file": file, "amount": 50}})

    async def asked_again() -> bool:
        return len(await stage.events(run_id, "approval.requested")) == 2

    await stage.wait(asked_again)
    await stage.decide(await stage.question(run_id), approved=False, comment="enough for today")
    run = await stage.succeeded(run_id)
    assert (run["output"], stage.lines("paid"), stage.wire.server.calls) == ({"text": "done"}, ["5", "50"], 3)
    _, second, third = stage.wire.server.requests
    assert "a person has changed the arguments" in second.texts("tool")[0]
    assert "enough for today" in third.texts("tool")[-1]
    assert [event["body"]["approved"] for event in await stage.events(run_id, "approval.resolved")] == [True, False]
    assert len(await stage.calls(run_id)) == run["usage"]["calls"] == 3


async def streaming(stage: Stage) -> None:
    """A client reads what the model says while it says it; what a broken attempt has said is taken back."""
    breaks, ends = asyncio.Event(), asyncio.Event()
    stage.wire.server.say(Streamed(Text("a first try that breaks off"), gate=breaks, cut=lambda whole: 3 * len(whole) // 4), Streamed(Text(LONG), gate=ends))
    step = {"agent": stage.agent("Write.", stream=True), "needs": ["go"], "retry": {"max_attempts": 2, "initial": "10ms"}}
    run_id = await stage.start({"go": {"signal": {"name": "go"}}, "draft": step}, outputs={"text": "steps.draft.output"})
    async with reading(stage.api, run_id) as reader:
        assert (await stage.api.post(f"/v1/runs/{run_id}/signals/go", json={})).status_code == 202
        first = await reader.until("step.delta")
        assert (first["step"], first["attempt"], first["body"]["offset"]) == ("draft", 1, 0)
        assert "a first try that breaks off".startswith(reader.text())
        breaks.set()
        await reader.until("step.retrying")
        assert LONG.startswith(reader.text()), "nothing of the first try is left, and perhaps the second one speaks already"
        while not reader.text():
            await reader.until("step.delta")
        assert LONG.startswith(reader.text())
        assert (await stage.run(run_id))["status"] == "running"
        ends.set()
        await reader.until("run.succeeded")
    assert reader.text() == LONG, "in order, without a gap"
    assert (await stage.run(run_id))["output"] == {"text": LONG}
    journal = await stage.events(run_id)
    assert [int(message["id"]) for message in reader.messages if message["id"]] == [event["seq"] for event in journal]
    assert [request.body["stream"] for request in stage.wire.server.requests] == [True, True]
    assert len(await stage.calls(run_id)) == 1


async def crash_in_the_middle(stage: Stage) -> None:
    """Killed with four calls and a tool behind it and two under way, the platform pays for those two again and for nothing else."""
    held = {("item 3", 0), ("Pay.", 1)}
    asked: Counter[tuple[str, int]] = Counter()

    def answer(request: Received) -> Any:
        question = (request.texts("user")[-1], len(request.texts("tool")))
        asked[question] += 1
        if question in held and asked[question] == 1:
            return Slow(Text("lost"), release=asyncio.Event())
        if question == ("Pay.", 0):
            return ToolCalls(("pay", {"file": str(stage.folder / "paid"), "amount": 7}))
        return Text(f"answer to {question[0]}")

    stage.wire.server.default = answer
    thread = f"crash-{uuid4()}"
    steps = {
        "each": {"agent": stage.agent("item ${{ item }}"), "map": {"over": "[0, 1, 2, 3]"}},
        "work": {"agent": stage.agent("Pay.", tools=[stage.tool("pay")], conversation=thread)},
    }
    run_id = await stage.start(steps, outputs={"each": "steps.each.output", "work": "steps.work.output"})

    async def in_the_middle() -> bool:
        behind = len(await stage.calls(run_id)), len(await stage.calls(run_id, "tool:pay"))
        return behind == (4, 1) and stage.wire.server.in_flight == len(held)

    await stage.wait(in_the_middle)
    await stage.crash()
    run = await stage.succeeded(run_id)
    assert run["output"] == {"each": [f"answer to item {item}" for item in range(4)], "work": "answer to Pay."}
    finished = {(f"item {item}", 0) for item in range(3)} | {("Pay.", 0)}
    assert asked == dict.fromkeys(finished, 1) | dict.fromkeys(held, 2)
    assert stage.lines("paid") == ["7"]
    made = [(event["step"], event["body"].get("index"), event["body"]["name"], event["body"]["n"]) for event in await stage.events(run_id, "call.finished")]
    assert len(made) == len(set(made))
    assert run["usage"]["calls"] == len(await stage.calls(run_id)) == 6
    assert len((await stage.api.get(f"/v1/conversations/{thread}")).json()["exchanges"]) == 1


async def cancel_in_the_middle(stage: Stage) -> None:
    """A cancel closes the connections of calls that would never end: one that is silent, one that drips, one that streams."""
    endless = {"silent": Slow(Text("late"), release=asyncio.Event()), "drips": Drip(), "streams": Endless()}
    stage.wire.server.default = lambda request: endless[request.texts("user")[0]]
    steps = {name: {"agent": stage.agent(name, stream=name == "streams")} for name in endless}
    run_id = await stage.start(steps)
    await asyncio.wait_for(stage.wire.server.asked(len(endless)), PATIENCE)
    assert (stage.wire.server.in_flight, stage.wire.server.aborted) == (len(endless), 0)
    canceled = await stage.api.post(f"/v1/runs/{run_id}:cancel", json={})
    assert canceled.status_code == 202, canceled.text
    accepted = time.monotonic()
    # That providers see within a second that nobody listens any more is a promise of docs/streaming.md; `cancel_within` says how it is held here.
    await asyncio.wait_for(stage.wire.server.left(len(endless)), stage.cancel_within)
    print(f"{len(endless)} calls aborted {1000 * (time.monotonic() - accepted):.0f} ms after the cancel was accepted")
    run = await stage.until(run_id)
    assert (run["status"], run["usage"]["calls"]) == ("canceled", 0), run
    assert await stage.calls(run_id) == []
    assert {event["step"] for event in await stage.events(run_id, "step.canceled")} == set(endless)
    assert (stage.wire.server.calls, stage.wire.server.in_flight) == (len(endless), 0), "nothing was tried again"
