"""All that a trial left behind, gathered from the public API and the witness, for the checks to judge."""

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.client import ENDS, Client, GaveUpError, Seen
from tests.chaos.driver import Driver, Started
from tests.chaos.faults import Injection
from tests.chaos.observer import Observer

AT_ONCE = 24
"""Reads at the same time."""
PATIENCE = 30.0
"""Seconds a read is repeated for: nothing is hurt any more."""


@dataclass
class Evidence:
    """`journals` and `rows` have every run there is, children included; `steps` those runs that were looked at in full."""

    started: dict[str, Started] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    journals: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    items: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    injections: list[Injection] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)
    """Names of webhooks the trial subscribed; empty when it did not, or could not."""
    left_over: list[str] = field(default_factory=list)
    before: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    after: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    fsck: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    """sha256 → large outputs, which journals and answers only refer to."""
    least_share: float = 0.8

    def end(self, run_id: str) -> dict[str, Any] | None:
        """The run's last event, if it is an end."""
        journal = self.journals.get(run_id)
        return journal[-1] if journal and journal[-1]["event"] in ENDS else None

    def whole(self, value: Any) -> Any:
        """An output, brought in when it is a reference."""
        digest = referred(value)
        return value if digest is None else self.values.get(digest, value)

    def arrivals(self) -> dict[str, list[dict[str, Any]]]:
        """Tag → what arrived of it, effects and model calls alike."""
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for entry in self.ledger:
            if entry["kind"] in ("effect", "model") and entry["tag"] is not None:
                found[entry["tag"]].append(entry)
        return found


def referred(value: Any) -> str | None:
    """The hash of what this is a reference to, if it is one."""
    return value["$artifact"]["sha256"] if isinstance(value, dict) and set(value) == {"$artifact"} else None


async def gather_evidence(client: Client, driver: Driver, witness: Observer, *, full: float, rng: random.Random) -> Evidence:
    """Ask for everything. `full`: the share of runs whose details and steps are read too; their journals are read always.

    Raises GaveUpError when not even the list of runs is given.
    """
    evidence = Evidence(started=driver.runs, seen=driver.seen, counts=client.counts, wrong=client.wrong, problems=driver.problems)
    client.patience = PATIENCE
    evidence.rows = {row["run_id"]: row for row in await client.pages("/v1/runs", "runs")}
    places = asyncio.Semaphore(AT_ONCE)

    async def read(run_id: str, *, whole: bool) -> None:
        async with places:
            try:
                journal = evidence.journals[run_id] = await client.pages(f"/v1/runs/{run_id}/events", "events")
                await _bring_in(client, evidence, run_id, [(event["body"] or {}).get("output") for event in journal])
                if whole:
                    await _read_whole(client, evidence, run_id)
            except (LookupError, GaveUpError) as failure:  # a run nobody can read any more is what is looked for, too
                evidence.problems.append(f"C1 run {run_id}: {failure}")

    await asyncio.gather(*(read(run_id, whole=run_id in driver.runs and rng.random() < full) for run_id in {**evidence.rows, **driver.runs}))
    evidence.ledger = await witness.ledger()
    return evidence


async def _bring_in(client: Client, evidence: Evidence, run_id: str, outputs: list[Any]) -> None:
    for digest in {digest for output in outputs if (digest := referred(output)) is not None} - set(evidence.values):
        answer = await client.ask("GET", f"/v1/runs/{run_id}/values/{digest}")
        if answer.status != 200:
            raise LookupError(f"GET /v1/runs/{run_id}/values/{digest}: {answer.status}")
        evidence.values[digest] = answer.body


async def _read_whole(client: Client, evidence: Evidence, run_id: str) -> None:
    evidence.details[run_id] = (await client.ask("GET", f"/v1/runs/{run_id}")).body
    answer = await client.ask("GET", f"/v1/runs/{run_id}/steps")
    if answer.status != 200:
        raise LookupError(f"GET /v1/runs/{run_id}/steps: {answer.status}")
    evidence.steps[run_id] = answer.body["steps"]
    for step in answer.body["steps"]:
        if step["items"] is not None:
            evidence.items[run_id, step["step"]] = await client.pages(f"/v1/runs/{run_id}/steps/{step['step']}/items", "items")


async def journal_text(client: Client, run_id: str) -> str:
    """The journal of a run that is stuck, for a person."""
    try:
        events = await client.pages(f"/v1/runs/{run_id}/events", "events")
        return "\n".join(
            f"  {e['seq']:>4} e{e['epoch']} {e['at'][11:23]} {e['event']} {e['step'] or ''} {e['attempt'] or ''} {str(e['body'])[:160]}" for e in events
        )
    except (GaveUpError, LookupError) as failure:
        return f"  {failure}"
