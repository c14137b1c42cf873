"""Never pay twice: what was finished before a crash is not asked, not called and not charged again."""

import asyncio

import pytest

from runtime.agents.ledger import Ledger, storable
from runtime.errors import StepFailed
from tests.support.openai_server import Output, Refuse, Text, ToolCalls


class Journal:
    """Keeps bodies; `crash_at` is the call it does not live to see."""

    def __init__(self, crash_at=None):
        self.bodies = []
        self._crash_at = crash_at

    async def record(self, body):
        if len(self.bodies) == self._crash_at:
            raise SystemError("the process died here")
        self.bodies.append(body)


async def square(n: int) -> int:
    """Square a number."""
    return n * n


def script(server):
    server.say(ToolCalls(("square", {"n": 3})), ToolCalls(("square", {"n": 4}), ("square", {"n": 5})), Text("9, 16, 25"))


NAMES = ["model", "tool:square", "model", "tool:square", "tool:square", "model"]


async def test_every_finished_call_is_recorded(server, live, functions):
    script(server)
    journal = Journal()
    await live(tools=[functions.add(square)], record=journal.record)
    assert [body["name"] for body in journal.bodies] == NAMES
    assert [body["n"] for body in journal.bodies] == [1, 1, 2, 2, 3, 3]
    usage = journal.bodies[0]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["cached_tokens"], usage["reasoning_tokens"]) == (100, 10, 0, 0)
    assert (usage["provider"], usage["model"], usage["answered"]) == ("openai", "openai:test-model", "test-model")
    assert not {"usd", "prices", "cached", "reserved"} & set(usage), "nobody knows the price of this model, and there is no budget"
    calls = [body["usage"]["call"] for body in journal.bodies if body["name"] == "model"]
    assert len(set(calls)) == 3
    assert journal.bodies[1]["result"] == {"value": 9}


@pytest.mark.parametrize("crash_at", range(len(NAMES)))
async def test_a_crash_at_any_call_repeats_only_that_call(server, live, functions, crash_at):
    script(server)
    reference = functions.add(square)
    before = Journal(crash_at)
    with pytest.raises(SystemError):
        await live(tools=[reference], record=before.record)
    kept = before.bodies[:crash_at]
    asked = [body for body in kept if body["name"] == "model"]
    server.requests.clear()
    server._script.clear()
    functions.called.clear()
    script(server)
    for _ in asked:
        server._script.popleft()
    after = Journal()
    outcome = await live(tools=[reference], replay=kept, record=after.record)
    assert outcome.output == "9, 16, 25"
    assert server.calls == 3 - len(asked)
    assert len(functions.called) == 3 - (len(kept) - len(asked))
    assert sorted(body["name"] for body in kept + after.bodies) == sorted(NAMES)
    assert outcome.usage["calls"] == 3
    assert outcome.usage["input_tokens"] == 300, "what was paid before counts too"
    assert outcome.usage.get("replayed", 0) == len(kept)


async def test_a_finished_conversation_is_replayed_without_the_provider(server, live, functions):
    script(server)
    reference, journal, seen = functions.add(square), Journal(), []
    first = await live(tools=[reference], record=journal.record)
    functions.called.clear()
    again = await live(tools=[reference], replay=journal.bodies, record=Journal(crash_at=0).record, observe=lambda *call: seen.append(call))
    assert again.output == first.output
    assert (server.calls, functions.called, seen) == (3, [], [])


async def test_tool_calls_side_by_side_are_told_apart_by_their_ids(server, live, functions):
    """The second finished before the crash, the first did not."""
    slow = asyncio.Event()

    async def fetch(page: str) -> str:
        if page == "one":
            await slow.wait()
        return f"page {page}"

    reference, journal = functions.add(fetch), Journal()
    server.say(ToolCalls(("fetch", {"page": "one"}), ("fetch", {"page": "two"})))
    recorded = asyncio.Event()

    async def record(body):
        await journal.record(body)
        if len(journal.bodies) == 2:
            recorded.set()

    task = asyncio.create_task(live(tools=[reference], record=record))
    await recorded.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert journal.bodies[1]["result"] == {"value": "page two"}
    slow.set()
    functions.called.clear()
    server.say(Text("both"))
    await live(tools=[reference], replay=journal.bodies, record=journal.record)
    assert functions.called == [("fetch", {"page": "one"})]
    assert server.requests[-1].texts("tool") == ["page one", "page two"]


async def test_a_failed_request_is_not_recorded_and_the_next_attempt_goes_on_from_there(server, live, functions):
    reference, journal = functions.add(square), Journal()
    server.say(ToolCalls(("square", {"n": 3})), Refuse(429))
    with pytest.raises(StepFailed):
        await live(tools=[reference], record=journal.record)
    server.say(Text("9"))
    outcome = await live(tools=[reference], replay=journal.bodies, record=journal.record)
    assert (outcome.output, server.calls, len(functions.called)) == ("9", 3, 1)


async def test_an_answer_that_could_not_be_used_is_not_replayed(server, live):
    schema, journal = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}, Journal()
    server.default = lambda request: Output({"a": "no"})
    with pytest.raises(StepFailed):
        await live(output=schema, record=journal.record)
    assert journal.bodies[-1]["name"] == "discarded"
    server.default = lambda request: Output({"a": 1})
    outcome = await live(output=schema, replay=journal.bodies, record=journal.record)
    assert (outcome.output, outcome.usage["calls"]) == ({"a": 1}, 1)


async def test_the_loop_goes_on_only_when_the_call_is_durable(server, live, functions):
    reference, durable, begun = functions.add(square), asyncio.Event(), asyncio.Event()
    server.say(ToolCalls(("square", {"n": 3})), Text("9"))

    async def record(body):
        begun.set()
        await durable.wait()

    task = asyncio.create_task(live(tools=[reference], record=record))
    await begun.wait()
    assert (functions.called, server.calls) == ([], 1)
    durable.set()
    assert (await task).output == "9"


async def test_without_a_journal_nothing_is_kept():
    ledger = Ledger()

    async def execute():
        return 1

    assert [await ledger.call("model", execute) for _ in range(2)] == [1, 1]
    await ledger.discard()


def test_storable():
    assert storable({"a\ud83d": ["\udc00", "\ud83d\ude00", 1, None, "plain"]}) == {"a�": ["�", "😀", 1, None, "plain"]}
