"""Steps over Ray: one or two ready ones go out as direct calls, many in one call per AgentActor, isolated ones as tasks.

Measured on two cores (steps/s, one owner, one AgentActor): a direct call each gives 1,300-2,000 however many wait, at 1.1 ms for one
alone; one streaming call per tick gives 900 for two, 2,000-5,000 for eight, 12,000-32,000 for 64 and more. A long-lived stream
with fire-and-forget submits gave 15,000-20,000 and calls back to the owner 18,000, but both leave nobody to tell when an actor dies.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace

from ray.exceptions import RayError

from actors import wire
from actors.fleet import Agent, Fleet
from actors.reunion import Place, find, places
from actors.tasks import IsolatedSteps
from runtime.host.dispatch import lost
from runtime.steps.protocol import Executor, Item, StepCall, StepResult

DIRECT = 2
"""Up to this many calls and items of one tick go out one by one: each is then faster than in a batch."""
BLOCK = 256
"""Items of a map that stay together; aligned, so that the next owner sends the same items to the same actor."""
AGENT_BLOCK = 8
"""Likewise of agent steps, each of which computes for milliseconds: all actors shall have the same share of them."""
PATIENCE_SECONDS = 60.0
"""How long to wait for any AgentActor to be up."""

Flight = tuple[Agent, list[StepCall]]
Queue = asyncio.Queue[list[StepResult] | None]


def weight(calls: Sequence[StepCall]) -> int:
    """Results to come."""
    return sum(1 if call.items is None else len(call.items) for call in calls)


def singly(calls: Sequence[StepCall]) -> list[StepCall]:
    """The same, each for one result: what has ended must not wait for its neighbour to be told."""
    return [one for call in calls for one in ([call] if call.items is None else [replace(call, items=(item,)) for item in call.items])]


def blocks(call: StepCall) -> list[tuple[str, tuple[Item, ...]]]:
    """What may go to different actors: the call itself, or a map's items cut into aligned blocks, each with its placement key."""
    if call.items is None:
        return [(call.run_id, ())]
    size = AGENT_BLOCK if call.kind == "agent" else BLOCK
    cut: dict[int, list[Item]] = {}
    for item in call.items:
        cut.setdefault(item.index // size, []).append(item)
    return [(f"{call.run_id}/{call.step}/{block}", tuple(items)) for block, items in cut.items()]


class RayExecutor(Executor):
    """What a WorkflowActor's host sends its steps to; what is in an AgentActor stays there when the WorkflowActor goes.

    `me`: the actor's name, where AgentActors hand finished model calls.
    """

    detached = True

    def __init__(self, me: str, fleet: Fleet) -> None:
        self._me = me
        self._fleet = fleet
        self._isolated = IsolatedSteps(me)

    async def execute(self, calls: Sequence[StepCall]) -> AsyncGenerator[list[StepResult], None]:
        shared = [call for call in calls if "resources" not in call.spec]
        if len(calls) == len(shared) == 1 and calls[0].items is None:
            async for batch in self._alone(calls[0]):  # the hot path of a chain: no queue, no further task
                yield batch
            return
        queue: Queue = asyncio.Queue()
        streams = [self._isolated.execute(call) for call in calls if "resources" in call.spec]
        streams += [self._shared(shared)] if shared else []
        pumps = [asyncio.create_task(_pump(stream, queue)) for stream in streams]
        async for batch in _drain(queue, pumps):
            yield batch

    async def cancel(self, run_id: str, step: str | None = None) -> None:
        """Everywhere: the call may be in flight since an earlier owner."""
        await self._isolated.cancel(run_id, step)
        await asyncio.gather(*(self._cancel(agent, run_id, step) for agent in self._fleet.agents if not agent.down))

    async def _cancel(self, agent: Agent, run_id: str, step: str | None) -> None:
        try:
            await agent.remote.cancel.remote(run_id, step)
        except (RayError, ValueError):
            self._fleet.lost(agent)

    async def _alone(self, call: StepCall) -> AsyncGenerator[list[StepResult], None]:
        if not await self._fleet.ready(PATIENCE_SECONDS):
            yield _nobody([call])
            return
        agent = (await find(self._fleet, [call])).get(places(call)[0])
        if agent is None:
            agent = self._fleet.place(call.run_id, 1)
        else:
            self._fleet.rejoin(agent, 1)
        async for batch in self._direct(agent, [call]):
            yield batch

    async def _shared(self, calls: Sequence[StepCall]) -> AsyncGenerator[list[StepResult], None]:
        """Placed call by call; then one request per actor, or one per call when they are few."""
        by_agent: dict[Agent, list[StepCall]] = {}
        held = await find(self._fleet, calls)
        for whole in calls:
            call = self._rejoin(whole, held, by_agent) if held else whole
            if call is None:
                continue
            parts: dict[Agent, list[Item]] = {}
            for key, items in blocks(call):
                if await self._fleet.ready(PATIENCE_SECONDS):
                    parts.setdefault(self._fleet.place(key, len(items) or 1), []).extend(items)
                else:
                    yield _nobody([replace(call, items=items) if items else call])
            for agent, theirs in parts.items():
                by_agent.setdefault(agent, []).append(replace(call, items=tuple(theirs)) if theirs else call)
        queue: Queue = asyncio.Queue()
        pumps = []
        for agent, sent in by_agent.items():
            flights = [self._direct(agent, [one]) for one in singly(sent)] if weight(sent) <= DIRECT else [self._batch(agent, sent)]
            pumps += [asyncio.create_task(_pump(flight, queue)) for flight in flights]
        async for batch in _drain(queue, pumps):
            yield batch

    def _rejoin(self, call: StepCall, held: Mapping[Place, Agent], by_agent: dict[Agent, list[StepCall]]) -> StepCall | None:
        """Give back what is left of a call once all that is still in flight somewhere goes there; None when nothing is."""
        found: dict[Agent, list[Item]] = {}
        left: list[Item] = []
        if call.items is None:
            agent = held.get(places(call)[0])
            if agent is None:
                return call
            found[agent] = []
        for item, place in zip(call.items or (), places(call), strict=False):
            (found.setdefault(held[place], []) if place in held else left).append(item)
        for agent, items in found.items():
            self._fleet.rejoin(agent, len(items) or 1)
            by_agent.setdefault(agent, []).append(replace(call, items=tuple(items)) if items else call)
        return replace(call, items=tuple(left)) if left else None

    async def _direct(self, agent: Agent, calls: list[StepCall]) -> AsyncGenerator[list[StepResult], None]:
        expected = weight(calls)
        try:
            yield wire.results(await agent.remote.run.options(name=calls[0].title).remote(self._me, wire.encode(calls)))
        except (RayError, ValueError) as failure:
            yield self._gone(agent, calls, failure)
        finally:
            self._fleet.done(agent, expected)

    async def _batch(self, agent: Agent, calls: list[StepCall]) -> AsyncGenerator[list[StepResult], None]:
        missing = {(call.run_id, call.step, call.iteration, item): call for call in calls for item in _indexes(call)}
        try:
            async for reference in agent.remote.run_many.options(num_returns="streaming", name=calls[0].title).remote(self._me, wire.encode(calls)):
                results = wire.results(await reference)
                for result in results:
                    missing.pop((result.run_id, result.step, result.iteration, result.index), None)
                self._fleet.done(agent, len(results))
                yield results
        except (RayError, ValueError) as failure:
            left = set(missing)
            yield [result for result in self._gone(agent, calls, failure) if (result.run_id, result.step, result.iteration, result.index) in left]
        finally:
            self._fleet.done(agent, len(missing))

    def _gone(self, agent: Agent, calls: Sequence[StepCall], failure: Exception) -> list[StepResult]:
        self._fleet.lost(agent)
        return lost(calls, f"{agent.name} is gone ({type(failure).__name__})")


def _indexes(call: StepCall) -> list[int | None]:
    return [None] if call.items is None else [item.index for item in call.items]


def _nobody(calls: Sequence[StepCall]) -> list[StepResult]:
    return lost(calls, f"no AgentActor has been up for {PATIENCE_SECONDS:g} s")


async def _pump(stream: AsyncIterator[list[StepResult]], queue: Queue) -> None:
    try:
        async for batch in stream:
            queue.put_nowait(batch)
    finally:
        queue.put_nowait(None)


async def _drain(queue: Queue, pumps: list[asyncio.Task[None]]) -> AsyncGenerator[list[StepResult], None]:
    """What the pumps bring, until all have ended; raises what stopped one of them."""
    try:
        running = len(pumps)
        while running:
            batch = await queue.get()
            if batch is None:
                running -= 1
            else:
                yield batch
        await asyncio.gather(*pumps)
    finally:
        for pump in pumps:
            pump.cancel()
