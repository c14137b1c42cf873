"""The load: starts runs of the programs, acts as all the people they wait for, and writes down what it was promised."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.client import Client, GaveUpError, Seen, follow
from tests.chaos.log import FsyncLog
from tests.chaos.programs import Expected, Program, inputs
from tests.chaos.values import form_value

ACTIVE = [("status", status) for status in ("queued", "running", "waiting", "paused", "canceling")]
POLL = 0.5
"""Seconds between two looks at what is under way."""


@dataclass
class Started:
    """A run that was acknowledged, and what it must come to. `answers`: what was asked of it later, and the status of each answer."""

    run_id: str
    key: str
    program: Program
    inputs: dict[str, Any]
    expected: Expected
    at: float
    cancel: dict[str, Any] | None = None
    ended: float | None = None


@dataclass
class Driver:
    """One trial's load. `runs` has every acknowledged run by id."""

    client: Client
    folder: Path
    witness: str
    rng: random.Random
    programs: list[Program]
    cancels: float = 0.0
    cancel_within: float = 1.5
    following: float = 1.0
    most_items: int = 6
    runs: dict[str, Started] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Acknowledgements that contradict each other or the rules: found here, reported as violations."""
    heads: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Run → its head when it last moved, and when that was seen (monotonic)."""
    _open: set[str] = field(default_factory=set)
    _number: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _acks: FsyncLog | None = None
    _asked: set[str] = field(default_factory=set)
    _starting: int = 0

    @property
    def in_flight(self) -> int:
        """Acknowledged runs that were not yet seen to have ended."""
        return len(self._open)

    @property
    def open_runs(self) -> list[str]:
        """Their ids."""
        return sorted(self._open)

    async def open(self) -> None:
        """Publish the programs and begin to look after runs."""
        self._acks = FsyncLog(self.folder / "acks.jsonl")
        published: set[str] = set()
        for program in [each for one in self.programs for each in one.all()]:
            if program.name not in published:
                published.add(program.name)
                answer = await self.client.ask("PUT", f"/v1/workflows/{program.name}", body=program.definition(self.witness))
                if answer.status not in (200, 201):
                    raise AssertionError(f"{program.name} was not published: {answer.status} {answer.body}")
        self._spawn(self._look_after())

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._acks is not None:
            self._acks.close()

    async def load(self, count: int, *, rate: float, most: int, more: Callable[[], bool] = lambda: False) -> None:
        """Start `count` runs, and then go on as long as `more()`; at most `rate` a second and `most` in flight."""
        began, number = time.monotonic(), 0
        while number < count or more():
            due = began + number / rate
            if (delay := due - time.monotonic()) > 0:
                await asyncio.sleep(delay)
            while self.in_flight + self._starting >= most:
                await asyncio.sleep(0.02)
            began = max(began, time.monotonic() - (number + 5) / rate)  # what was held up is not made up for in a burst
            number += 1
            self._starting += 1
            self._spawn(self._start_one())
        while self._starting:
            await asyncio.sleep(0.05)

    async def idle(self, seconds: float) -> bool:
        """Wait until all runs have ended; False when none moved for `seconds`."""
        while self.in_flight:
            now = time.monotonic()
            moved = max([moment for run_id, (_, moment) in self.heads.items() if run_id in self._open], default=now)
            if now - max(moved, self._begun) > seconds:
                return False
            await asyncio.sleep(0.1)
        return True

    _begun: float = field(default_factory=time.monotonic)

    async def start(self, program: Program, given: dict[str, Any], *, parallel: int = 1) -> Started:
        """Start one run with a key of its own, and write its acknowledgement down. Raises GaveUpError."""
        self._number += 1
        key = f"run-{self._number}-{given['token']}"
        expected = program.expect(given, self.witness)
        wishes = [
            self.client.ask("POST", f"/v1/workflows/{program.name}/runs", body={"inputs": given}, headers={"Idempotency-Key": key}) for _ in range(parallel)
        ]
        answers = await asyncio.gather(*wishes)
        for answer in answers:
            if answer.status not in (200, 202):
                raise AssertionError(f"{program.name} was not started: {answer.status} {answer.body}")
        ids = {answer.body["run_id"] for answer in answers}
        if len(ids) != 1:
            self.problems.append(f"C1 key {key}: it led to {len(ids)} runs {sorted(ids)}")
        run_id = min(ids)
        if run_id in self.runs:
            self.problems.append(f"C1 run {run_id}: two keys led to it")
        started = self.runs[run_id] = Started(run_id, key, program, given, expected, time.time())
        self._open.add(run_id)
        self.heads[run_id] = (0, time.monotonic())
        await self.note("started", run_id=run_id, key=key, workflow=program.name)
        if self.rng.random() < self.following:
            self.seen[run_id] = Seen(run_id)
            self._spawn(follow(self.client, run_id, self.seen[run_id], rng=self.rng))
        for name, value in expected.signals.items():
            self._spawn(self._signal(started, name, value))
        return started

    async def note(self, what: str, **entry: Any) -> None:
        """Write an acknowledgement down, synced, before anything is made of it."""
        assert self._acks is not None
        await self._acks.write({"what": what, "at": time.time(), **entry})

    async def cancel(self, run_id: str) -> int:
        """Ask for the end of a run; the status of the answer. A repeated wish is answered 202 or, when it has ended meanwhile, 409."""
        answer = await self.client.ask("POST", f"/v1/runs/{run_id}:cancel", body={"reason": "chaos"})
        entry = {"status": answer.status, "body": answer.body if answer.status == 409 else None}
        self.runs[run_id].cancel = entry
        await self.note("cancel", run_id=run_id, **entry)
        return answer.status

    # --- what goes on beside

    async def _start_one(self) -> None:
        try:
            program = self.rng.choice(self.programs)
            given = inputs(self.rng, f"{self.folder.name}-{self._number}-{self.rng.randrange(2**32):08x}", most_items=self.most_items)
            started = await self.start(program, given)
        except GaveUpError as failure:
            self.problems.append(f"C8 {failure}")
            return
        finally:
            self._starting -= 1
        if self.rng.random() < self.cancels:
            await asyncio.sleep(self.rng.uniform(0, self.cancel_within))
            with suppress(GaveUpError):
                await self.cancel(started.run_id)

    async def _signal(self, started: Started, name: str, value: int) -> None:
        await asyncio.sleep(self.rng.uniform(0, 1.0))
        headers = {"Idempotency-Key": f"signal-{started.run_id}-{name}"}
        with suppress(GaveUpError):
            answer = await self.client.ask("POST", f"/v1/runs/{started.run_id}/signals/{name}", body={"payload": {"value": value}}, headers=headers)
            await self.note("signal", run_id=started.run_id, name=name, status=answer.status)

    async def _look_after(self) -> None:
        """See which runs are still under way, decide what waits for a person, and notice what does not move."""
        while True:
            with suppress(GaveUpError):
                began = time.time()
                active = {run["run_id"]: run for run in await self._active()}
                for run_id in list(self._open):
                    if run_id not in active and self.runs[run_id].at < began:
                        self._open.discard(run_id)
                        self.runs[run_id].ended = time.time()
                    elif run_id in active and active[run_id]["head"] != self.heads[run_id][0]:
                        self.heads[run_id] = (active[run_id]["head"], time.monotonic())
                waits = {run["waiting_for"] for run in active.values()} | {"approval"} - {None}
                if self._needs_people(active, "approval") and "approval" in waits:
                    await self._decide_approvals()
                await asyncio.gather(*(self._decide_attempts(run_id) for run_id, run in active.items() if run["waiting_for"] == "decision"))
            await asyncio.sleep(POLL)

    def _needs_people(self, active: dict[str, dict[str, Any]], what: str) -> bool:
        """A run that waits for several things shows one of them; one that also works shows none."""
        return any(run["status"] in ("waiting", "running") for run in active.values()) and bool(what)

    async def _active(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token: Sequence[tuple[str, str]] = ()
        while True:
            answer = await self.client.ask("GET", "/v1/runs", params=[*ACTIVE, ("page_size", "1000"), *token])
            found += answer.body["runs"]
            if not answer.body.get("next_page_token"):
                return found
            token = [("page_token", answer.body["next_page_token"])]

    async def _decide_approvals(self) -> None:
        for approval in await self.client.pages("/v1/approvals", "approvals", pending="true"):
            key = f"approval-{approval['approval_id']}"
            if key in self._asked:
                continue
            body = {"approved": True, "form": {"mark": form_value(approval["show"])}}
            answer = await self.client.ask("POST", f"/v1/approvals/{approval['approval_id']}:decide", body=body, headers={"Idempotency-Key": key})
            if answer.status < 500:
                self._asked.add(key)
            await self.note("approval", run_id=approval["run_id"], approval_id=approval["approval_id"], status=answer.status)

    async def _decide_attempts(self, run_id: str) -> None:
        """A person who has looked into the ledger: it happened, and this is what came of it."""
        answer = await self.client.ask("GET", f"/v1/runs/{run_id}/steps")
        steps = answer.body["steps"] if answer.status == 200 else []
        for step in steps:
            if run_id in self.runs and step["status"] == "waiting" and (step["waiting"] or {}).get("for") == "decision":
                output = self.runs[run_id].expected.steps[step["step"]].output
                body = {"step": step["step"], "action": "succeed", "output": output}
                headers = {"Idempotency-Key": f"decision-{run_id}-{step['step']}"}
                decided = await self.client.ask("POST", f"/v1/runs/{run_id}/decisions", body=body, headers=headers)
                await self.note("decision", run_id=run_id, step=step["step"], status=decided.status)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.problems.append(f"harness: {type(task.exception()).__name__}: {task.exception()}")
