"""What is done with the definitions: each scene leads its runs where no other leads one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from runtime.engine.states import StepStatus
from runtime.gateway import Gateway, StartRequest
from runtime.local import LocalPlatform
from runtime.store.protocol import ApprovalQuery, RunRow
from tests.golden import flows

TENANT = "default"
PATIENCE = 40.0
Open = Callable[[], LocalPlatform]
Scene = Callable[[Open, int], Awaitable[None]]


async def start(gateway: Gateway, document: str, mode: str = "live", **inputs: Any) -> RunRow:
    published = await gateway.publish(TENANT, document)
    return (await gateway.start(TENANT, StartRequest(published.workflow, inputs, mode=mode, labels={"scene": published.workflow}))).run


async def end(gateway: Gateway, run: RunRow, status: str = "succeeded") -> RunRow:
    row = await gateway.wait(TENANT, run.run_id, PATIENCE)
    assert row.status == status, (row.workflow, row.status, row.error)
    return row


async def until(gateway: Gateway, run: RunRow, step: str, *wanted: StepStatus) -> None:
    """Wait until a step of the run is in one of these states."""
    async with asyncio.timeout(PATIENCE):
        while (await gateway.step(TENANT, run.run_id, step))[0].status not in wanted:  # noqa: ASYNC110 - the state is in the database
            await asyncio.sleep(0.01)


async def answer(gateway: Gateway, run: RunRow, step: str, approved: bool, form: Any = None) -> None:
    await until(gateway, run, step, StepStatus.WAITING)
    questions = await gateway.approvals(TENANT, ApprovalQuery(TENANT, run_id=run.run_id))
    (question,) = [each for each in questions if each.step == step]
    await gateway.decide(TENANT, question.approval_id, approved=approved, form=form, by="golden", comment=None)


async def kinds(platform: Open, port: int) -> None:
    async with platform() as opened:
        await end(opened.gateway, await start(opened.gateway, flows.KINDS, mode="simulated", topic="Lisbon", port=port))


async def talks(platform: Open, port: int) -> None:
    async with platform() as opened:
        await end(opened.gateway, await start(opened.gateway, flows.TALKS, mode="simulated"))


async def maps(platform: Open, port: int) -> None:
    """Retried, failed, large and missing items; a map that fails; its retry, which keeps what was done."""
    async with platform() as opened:
        gateway = opened.gateway
        await end(gateway, await start(gateway, flows.MAP, count=15))
        broken = await end(gateway, await start(gateway, flows.BROKEN_MAP), "failed")
        again = (await gateway.retry(TENANT, broken.run_id)).run
        await end(gateway, again, "failed")


async def loops(platform: Open, port: int) -> None:
    async with platform() as opened:
        await end(opened.gateway, await start(opened.gateway, flows.LOOP))


async def people(platform: Open, port: int) -> None:
    async with platform() as opened:
        gateway = opened.gateway
        run = await start(gateway, flows.PEOPLE)
        await gateway.signal(TENANT, run.run_id, "ping", {"count": 1})
        await answer(gateway, run, "ask", approved=True, form={"stars": 5})
        await answer(gateway, run, "no", approved=False)
        await end(gateway, run)
        rejected = await start(gateway, flows.HANGS)
        await answer(gateway, rejected, "ask", approved=False)
        await end(gateway, rejected, "failed")


async def families(platform: Open, port: int) -> None:
    async with platform() as opened:
        await opened.gateway.publish(TENANT, flows.CHILD)
        await end(opened.gateway, await start(opened.gateway, flows.PARENT))


async def asks(platform: Open, port: int) -> None:
    """Agents whose calls wait for a person and for runs: approved with other arguments, rejected, and left open."""
    async with platform() as opened:
        gateway = opened.gateway
        await gateway.publish(TENANT, flows.CHILD)
        run = await start(gateway, flows.ASKS, mode="simulated")
        await answer(gateway, run, "work", approved=True, form={"args": {"place": "Porto"}})
        await end(gateway, run)
        rejected = await start(gateway, flows.ASKS, mode="simulated")
        await answer(gateway, rejected, "work", approved=False)
        await end(gateway, rejected)
        waits = await start(gateway, flows.ASKS, mode="simulated")
        await until(gateway, waits, "work", StepStatus.WAITING)


async def crashes(platform: Open, port: int) -> None:
    """The owner goes while steps are in flight: one is asked about, one repeated, one failed."""
    async with platform() as opened:
        run = await start(opened.gateway, flows.CRASH, seconds=30)
        for step in ("asks", "again", "stops"):
            await until(opened.gateway, run, step, StepStatus.RUNNING, StepStatus.SUCCEEDED)
    async with platform() as opened:
        gateway = opened.gateway
        await until(gateway, run, "asks", StepStatus.WAITING)
        await gateway.decide_step(TENANT, run.run_id, "asks", "succeed", output="a person has looked")
        await end(gateway, run)


async def forks(platform: Open, port: int) -> None:
    async with platform() as opened:
        gateway = opened.gateway
        failed = await end(gateway, await start(gateway, flows.FAILS, code="boom"), "failed")
        await end(gateway, (await gateway.retry(TENANT, failed.run_id)).run, "failed")
        await end(gateway, (await gateway.fork(TENANT, failed.run_id, from_step="bad", inputs={"code": "other"})).run, "failed")
        done = await end(gateway, await start(gateway, flows.LOOP))
        await end(gateway, (await gateway.fork(TENANT, done.run_id, from_step="count")).run)


async def cancels(platform: Open, port: int) -> None:
    """In flight, while waiting, before the start, and a parent with its child."""
    async with platform() as opened:
        gateway = opened.gateway
        run = await start(gateway, flows.HANGS)
        await until(gateway, run, "slow", StepStatus.RUNNING)
        await gateway.cancel(TENANT, run.run_id, reason="enough", by="golden")
        await end(gateway, run, "canceled")
        await opened.host.stop(0)
        queued = await start(gateway, flows.HANGS)
        await gateway.cancel(TENANT, queued.run_id, reason=None, by="golden")
        await end(gateway, queued, "canceled")


async def errors(platform: Open, port: int) -> None:
    async with platform() as opened:
        gateway = opened.gateway
        await end(gateway, await start(gateway, flows.ERRORS))
        await end(gateway, await start(gateway, flows.TOO_LATE), "failed")


async def large(platform: Open, port: int) -> None:
    async with platform() as opened:
        gateway = opened.gateway
        run = await start(gateway, flows.LARGE, text="y" * 70_000)
        await gateway.signal(TENANT, run.run_id, "big", {"text": "w" * 70_000})
        await end(gateway, run)


async def pauses(platform: Open, port: int) -> None:
    async with platform() as opened:
        gateway = opened.gateway
        run = await start(gateway, flows.PAUSED)
        await until(gateway, run, "first", StepStatus.WAITING)
        await gateway.pause(TENANT, run.run_id)
        async with asyncio.timeout(PATIENCE):
            while (await gateway.run(TENANT, run.run_id)).status != "paused":  # noqa: ASYNC110 - the state is in the database
                await asyncio.sleep(0.01)
        await gateway.resume(TENANT, run.run_id)
        await end(gateway, run)


async def under_way(platform: Open, port: int) -> None:
    """Runs that have not ended when they are recorded: what a newer release has to go on with."""
    async with platform() as opened:
        gateway = opened.gateway
        waits = await start(gateway, flows.WAITS)
        await until(gateway, waits, "retry", StepStatus.RETRYING)
        paused = await start(gateway, flows.WAITS)
        await until(gateway, paused, "ask", StepStatus.WAITING)
        await gateway.pause(TENANT, paused.run_id)
        await gateway.signal(TENANT, paused.run_id, "ping", 1)
        hangs = await start(gateway, flows.HANGS)
        await until(gateway, hangs, "slow", StepStatus.RUNNING)


SCENES: tuple[Scene, ...] = (kinds, talks, maps, loops, people, families, asks, crashes, forks, cancels, errors, large, pauses, under_way)
