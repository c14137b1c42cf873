"""Clients that repeat, race and change their minds (F21, F32, F33)."""

import asyncio
import random
import re
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.alone.load import SUM, judge
from tests.chaos.alone.stage import Stage, stage
from tests.chaos.alone.trials import Verdict, trial
from tests.chaos.ports import until
from tests.chaos.tools.singles import Single

CLIENTS = 20
"""That use one key at the same time."""

BRIEF: dict[str, Any] = {
    "name": "brief",
    "inputs": {"seconds": {"type": "number"}},
    "steps": {"rest": {"python": {"function": "tests.chaos.tools.work:rest", "args": {"seconds": "${{ inputs.seconds }}", "value": 1}}}},
    "outputs": {"value": "steps.rest.output"},
}
ASK: dict[str, Any] = {
    "name": "ask",
    "steps": {"question": {"approval": {"message": "Go on?", "on_reject": "continue"}}},
    "outputs": {"approved": "steps.question.output.approved"},
}


async def _verdict(at: Stage, name: str, wanted: int, done: int) -> Verdict:
    await judge(at.client)
    await at.check()
    notes = {
        **at.notes,
        "runs": len(at.told.acknowledged),
        "statuses": dict(at.told.statuses),
        "slowest": round(at.told.slowest, 2),
        "starts": [server.starts for server in at.servers],
    }
    return Verdict(name, at.database, wanted, done, at.told.violations, notes)


@trial("F21", "the same submission many times, while replicas die", bar=1000)
async def duplicates(folder: Path, database: str, count: int) -> Verdict:
    """`count` keys, each used by twenty clients at once on two replicas, one of which is killed again and again."""
    async with stage(folder, database, servers=2, kept=True) as at:
        await at.client.call("PUT", "/v1/workflows/sum", json=SUM, wanted=(200, 201))
        over = asyncio.Event()
        killer = asyncio.create_task(_kill_in_turn(at, over))
        for n in range(count):
            await _one_key(at, n)
        over.set()
        at.notes["kills"] = await killer
        return await _verdict(at, "F21", count, count)


async def _kill_in_turn(at: Stage, over: asyncio.Event) -> int:
    """One replica after the other, never both."""
    kills = 0
    while not over.is_set():
        for server in at.servers:
            await asyncio.sleep(random.uniform(0.5, 2))
            if all(each.alive for each in at.servers):
                await at.kill(server)
                kills += 1
            await until(partial(_lives, server), 60)
            await at.client.call("GET", "/livez")
    return kills


async def _lives(server: Single) -> bool:
    return server.alive


async def _one_key(at: Stage, n: int) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}

    async def ask() -> dict[str, Any]:
        answer = await at.client.call("POST", "/v1/workflows/sum/runs", json={"inputs": {"n": n}}, headers=headers)
        body: dict[str, Any] = answer.json()
        return body

    answers = await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    found = {answer.get("run_id") for answer in answers}
    if len(found) != 1:
        at.told.violations.append(f"one key led to {len(found)} runs: {found}")
        return
    run_id = str(answers[0]["run_id"])
    at.told.acknowledged[run_id] = n
    fixed = {tuple((name, str(answer[name])) for name in ("workflow", "version", "created_at", "mode", "inputs")) for answer in answers}
    if len(fixed) != 1:
        at.told.violations.append(f"run {run_id}: the answers to one key differ: {fixed}")
    other = await at.client.call("POST", "/v1/workflows/sum/runs", json={"inputs": {"n": n + 1}}, headers=headers, wanted=(422,))
    if other.status_code == 422 and other.json()["code"] != "idempotency_mismatch":
        at.told.violations.append(f"another payload: {other.text[:200]}")


@trial("F32", "a cancel against the end, a crash, an approval, a fork", bar=5000)
async def cancels(folder: Path, database: str, count: int) -> Verdict:
    """`count` cancels within 50 ms of the end; each answer is compared with the end that is recorded."""
    async with stage(folder, database, servers=2, kept=True) as at:
        for document in (BRIEF, ASK):
            await at.client.call("PUT", f"/v1/workflows/{document['name']}", json=document, wanted=(200, 201))
        gate, races = asyncio.Semaphore(12), (_against_end, _against_end, _against_approval, _against_fork)
        tally: dict[str, int] = {}

        async def one(place: int) -> None:
            async with gate:
                what = await races[place % len(races)](at)
                tally[what] = tally.get(what, 0) + 1

        over = asyncio.Event()
        killer = asyncio.create_task(_kill_now_and_then(at, over))
        await asyncio.gather(*(one(place) for place in range(count)))
        over.set()
        at.notes |= {"races": tally, "kills": await killer}
        return await _verdict(at, "F32", count, count)


async def _kill_now_and_then(at: Stage, over: asyncio.Event) -> int:
    """Every ten seconds or so: most races are decided by the clock, some by a crash."""
    kills = 0
    while not over.is_set():
        try:
            await asyncio.wait_for(over.wait(), random.uniform(5, 15))
        except TimeoutError:
            if all(each.alive for each in at.servers):
                await at.kill(random.choice(at.servers))
                kills += 1
    return kills


async def _cancel(at: Stage, run_id: str) -> str:
    """Cancel, and hold the answer against the end."""
    tries, answer = 0, None
    while answer is None or answer.status_code in (429, 503):
        tries += 1
        answer = await at.client.once("POST", f"/v1/runs/{run_id}:cancel")
        if answer is None or answer.status_code == 503:
            await asyncio.sleep(0.1)
    run = await at.client.ended(run_id)
    if answer.status_code == 202:
        if run["status"] != "canceled":
            at.told.violations.append(f"run {run_id}: the cancel was accepted and it {run['status']}")
        return "accepted"
    if answer.status_code != 409 or answer.json()["code"] != "run_ended":
        at.told.violations.append(f"run {run_id}: the cancel got {answer.status_code} {answer.text[:200]}")
        return "wrong"
    if run["status"] not in answer.json()["detail"]:
        at.told.violations.append(f"run {run_id} {run['status']}, the refused cancel says: {answer.json()['detail']}")
    if tries == 1 and run["status"] == "canceled":
        at.told.violations.append(f"run {run_id} was canceled, and nobody but the refused cancel asked for it")
    return "refused"


async def _against_end(at: Stage) -> str:
    seconds = random.uniform(0.05, 0.15)
    run_id = await _start(at, "brief", {"seconds": seconds})
    await asyncio.sleep(max(0.0, seconds + random.uniform(-0.05, 0.05)))
    return f"end: {await _cancel(at, run_id)}"


async def _against_approval(at: Stage) -> str:
    run_id = await _start(at, "ask", {})
    approval = await _question(at, run_id)
    offset = random.uniform(-0.03, 0.03)

    async def approve() -> None:
        await asyncio.sleep(max(0.0, offset))
        answer = await at.client.once("POST", f"/v1/approvals/{approval}:decide", json={"approved": True})
        if answer is not None and answer.status_code not in (200, 409, 429, 503):
            at.told.violations.append(f"deciding: {answer.status_code} {answer.text[:200]}")

    approving = asyncio.create_task(approve())
    await asyncio.sleep(max(0.0, -offset))
    outcome = await _cancel(at, run_id)
    await approving
    return f"approval: {outcome}"


async def _against_fork(at: Stage) -> str:
    """The fork is a run of its own: whatever becomes of the first, it ends as it should."""
    run_id = await _start(at, "brief", {"seconds": 0.05})
    await asyncio.sleep(random.uniform(0.02, 0.08))
    outcome, forked = await asyncio.gather(_cancel(at, run_id), at.client.once("POST", f"/v1/runs/{run_id}:fork", json={"from_step": "rest"}))
    if forked is not None and forked.status_code in (200, 202):
        run = await at.client.ended(forked.json()["run_id"])
        if run["status"] != "succeeded":
            at.told.violations.append(f"the fork {run['run_id']} of {run_id} {run['status']}: {run['error']}")
    elif forked is not None and forked.status_code not in (409, 429, 503):
        at.told.violations.append(f"forking: {forked.status_code} {forked.text[:200]}")
    return f"fork: {outcome}"


async def _start(at: Stage, workflow: str, inputs: dict[str, Any]) -> str:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    answer = await at.client.call("POST", f"/v1/workflows/{workflow}/runs", json={"inputs": inputs}, headers=headers)
    run_id: str = answer.json()["run_id"]
    return run_id


async def _question(at: Stage, run_id: str) -> str:
    """The id of the approval that the run asks for, as soon as it does."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for event in await at.client.events(run_id):
            if event["event"] == "approval.requested":
                approval: str = event["body"]["approval_id"]
                return approval
        await asyncio.sleep(0.02)
    raise TimeoutError(f"run {run_id} asks nothing")


@trial("F33", "two people answer one question", bar=1000)
async def approvals(folder: Path, database: str, count: int) -> Verdict:
    """`count` questions, each answered twice at the same time on two replicas; a third answer comes late."""
    async with stage(folder, database, servers=2) as at:
        await at.client.call("PUT", "/v1/workflows/ask", json=ASK, wanted=(200, 201))
        gate = asyncio.Semaphore(8)

        async def one() -> None:
            async with gate:
                await _answered_twice(at)

        await asyncio.gather(*(one() for _ in range(count)))
        return await _verdict(at, "F33", count, count)


_WHO_AND_WHEN = re.compile(r"already decided by (\S+) at \d{4}-\d\d-\d\dT")


async def _answered_twice(at: Stage) -> None:
    run_id = await _start(at, "ask", {})
    path = f"/v1/approvals/{await _question(at, run_id)}:decide"
    decisions = (True, False)
    answers = await asyncio.gather(*(at.client.call("POST", path, json={"approved": approved}, wanted=(200, 409)) for approved in decisions))
    answers.append(await at.client.call("POST", path, json={"approved": True}, wanted=(409,)))
    if sorted(answer.status_code for answer in answers) != [200, 409, 409]:
        at.told.violations.append(f"run {run_id}: three answers got {[answer.status_code for answer in answers]}")
        return
    for answer in answers:
        if answer.status_code == 409 and not _WHO_AND_WHEN.search(answer.json()["detail"]):
            at.told.violations.append(f"the second answer is not told who and when: {answer.json()['detail']}")
    first = decisions[[answer.status_code for answer in answers].index(200)]
    run = await at.client.ended(run_id)
    if run["output"] != {"approved": first}:
        at.told.violations.append(f"run {run_id}: {first} was accepted first, and it came to {run['output']}")
