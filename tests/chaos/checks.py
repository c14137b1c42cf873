"""C1 to C10: what must hold after every trial. Each check gives its findings as sentences that name the run; none is the good result.

They look at what the public API and the witness say, and at nothing else; `agentic doctor --fsck` is asked in addition.
"""

from collections.abc import Callable, Iterator
from typing import Any

from tests.chaos.client import ENDS
from tests.chaos.driver import Started
from tests.chaos.evidence import Evidence
from tests.chaos.folding import Journal, Told, read_journal
from tests.chaos.handle import Role
from tests.chaos.nodes import FAILED, SUCCEEDED, Result

Check = Callable[[Evidence], list[str]]
MEMORY_SHARE, FILES_SHARE = 1.1, 1.1
MEMORY_SLACK, FILES_SLACK = 48.0, 48.0
"""MiB and open files per process beyond the ten percent: caches fill up to their bounds, and each follower holds a connection."""
CACHES = {Role.AGENT: 96.0}
"""MiB that bounded caches of a role may hold besides: an AgentActor keeps results for five minutes (32 MiB), and large values parsed (64 MiB)."""
MOST_FINDINGS = 40
"""Of one check that are kept; more of the same say nothing new."""


def c1_runs_exist(evidence: Evidence) -> list[str]:
    """Every acknowledged run exists and has ended."""
    found = [problem for problem in evidence.problems if problem.startswith("C1")]
    for run_id, started in evidence.started.items():
        row, end = evidence.rows.get(run_id), evidence.end(run_id)
        if row is None:
            found.append(f"C1 run {run_id} ({started.program.name}): it was acknowledged, and is not in the list of runs")
        elif end is None or row["status"] != end["event"].removeprefix("run."):
            found.append(f"C1 run {run_id} ({started.program.name}): it is {row['status']}, its last event is {end and end['event']}")
    return found


def c2_results(evidence: Evidence) -> list[str]:
    """Output and step results are those that were computed beforehand; an accepted cancel ends canceled, a refused one named the end."""
    return [
        f"C2 run {run_id} ({started.program.name}): {text}" for run_id, started in evidence.started.items() for text in _compared(evidence, run_id, started)
    ]


def _compared(evidence: Evidence, run_id: str, started: Started) -> Iterator[str]:
    end, expected = evidence.end(run_id), started.expected
    if end is None:
        return
    status, body = end["event"].removeprefix("run."), end["body"] or {}
    allowed = {expected.status}
    if started.cancel is not None:
        # A first try may have been accepted and its answer lost; the repeated one then met the end.
        allowed = {"canceled"} if started.cancel["status"] == 202 else {expected.status, "canceled"}
        if started.cancel["status"] == 409 and status not in str(started.cancel["body"]):
            yield f"it ended {status}, and the refused cancel said {started.cancel['body']}"
    if status not in allowed:
        yield f"it ended {status} instead of {' or '.join(sorted(allowed))} (cancel: {started.cancel}; error: {body.get('error')})"
        return
    if status == SUCCEEDED and not same(expected.output, evidence.whole(body.get("output"))):
        yield f"output {str(body.get('output'))[:300]} instead of {str(expected.output)[:300]}"
    if status == FAILED and (body.get("error") or {}).get("code") != expected.error:
        yield f"error {body.get('error')} instead of {expected.error}"
    detail = evidence.details.get(run_id)
    if detail is not None and (detail["status"] != status or (status == SUCCEEDED and not same(expected.output, evidence.whole(detail["output"])))):
        yield f"GET says {detail['status']} {str(detail['output'])[:200]}, the journal says {status}"
    yield from _steps(evidence, run_id, started, complete=status == SUCCEEDED)


def _steps(evidence: Evidence, run_id: str, started: Started, *, complete: bool) -> Iterator[str]:
    """Each step by the journal, and by the list of steps where that was read."""
    journal = read_journal(evidence.journals[run_id])
    listed = {step["step"]: step for step in evidence.steps.get(run_id, ())}
    for name, result in started.expected.steps.items():
        told = journal.steps.get(name, Told())
        told.output = evidence.whole(told.output)
        yield from _step(name, result, told, complete=complete)
        if name in listed and told.status is not None and listed[name]["status"] != told.status:
            yield f"step {name}: GET says {listed[name]['status']}, the journal says {told.status}"
        items = evidence.items.get((run_id, name))
        if items is not None and told.status == SUCCEEDED and [item["output"] for item in items] != [told.items.get(index) for index in range(len(items))]:
            yield f"step {name}: its items are listed otherwise than the journal has them"


def _step(name: str, result: Result, told: Told, *, complete: bool) -> Iterator[str]:
    crashed = result.may_crash and told.status == FAILED and (told.error or {}).get("code") == "crashed"
    if crashed or (not complete and told.status in (None, "canceled", "skipped")):
        return
    if told.status != result.status:
        yield f"step {name} is {told.status} instead of {result.status} (error: {told.error})"
    elif result.status == FAILED and (told.error or {}).get("code") != result.error:
        yield f"step {name} failed with {told.error} instead of {result.error}"
    elif result.status == SUCCEEDED and result.items is not None:
        given = [told.items.get(index) for index in range(len(result.items))]
        if told.total not in (None, len(result.items)) or given != result.items:
            yield f"step {name} has items {str(given)[:200]} instead of {str(result.items)[:200]}"
    elif result.status == SUCCEEDED and not (same(result.output, told.output) if result.exact or told.decided else part_of(result.output, told.output)):
        yield f"step {name} gave {str(told.output)[:200]} instead of {str(result.output)[:200]}"


def same(expected: Any, given: Any) -> bool:
    """Equal as JSON; a number is not a truth value."""
    return expected == given and type(expected) is type(given)


def part_of(expected: Any, given: Any) -> bool:
    """Whether all that is expected is there; more may stand beside it."""
    if isinstance(expected, dict):
        return isinstance(given, dict) and all(part_of(value, given.get(key)) for key, value in expected.items())
    return same(expected, given)


def c3_journals(evidence: Evidence) -> list[str]:
    """Seqs are 1..n, epochs never fall, and one end is last: for every run there is, children included."""
    found = []
    for run_id, events in evidence.journals.items():
        seqs = [event["seq"] for event in events]
        if seqs != list(range(1, len(events) + 1)):
            found.append(f"C3 run {run_id}: its events are numbered {seqs[:5]}…{seqs[-5:]}, {len(seqs)} in all")
        epochs = [event["epoch"] for event in events]
        if epochs != sorted(epochs):
            found.append(f"C3 run {run_id}: an event of an older epoch comes after a newer one")
        claims = [event["epoch"] for event in events if event["event"] == "run.claimed"]
        if len(claims) != len(set(claims)):
            found.append(f"C3 run {run_id}: an epoch was claimed twice")
        ends = [event["seq"] for event in events if event["event"] in ENDS]
        if ends and (len(ends) > 1 or ends[0] != len(events)):
            found.append(f"C3 run {run_id}: ends at {ends} of {len(events)} events")
        if (row := evidence.rows.get(run_id)) and row["head"] != len(events):
            found.append(f"C3 run {run_id}: its head is {row['head']}, its journal has {len(events)} events")
        found += [f"C3 run {run_id}: {text}" for text in _step_ends(events)]
    return found


def _step_ends(events: list[dict[str, Any]]) -> Iterator[str]:
    ended: set[str] = set()
    for event in events:
        step = (event["step"] or "").partition("#")[0]
        if step in ended:
            yield f"event {event['seq']} ({event['event']}) comes after step {step} has ended"
        if event["event"] in ("step.succeeded", "step.failed", "step.skipped", "step.canceled", "step.reused"):
            ended.add(step)


def c4_streams(evidence: Evidence) -> list[str]:
    """What each client was shown, glued over its connections, is the journal."""
    found = []
    for run_id, seen in evidence.seen.items():
        journal = evidence.journals.get(run_id, [])
        shown = [{name: value for name, value in event.items() if name != "id"} for event in seen.events]
        if any(event["id"] != event["seq"] for event in seen.events):
            found.append(f"C4 run {run_id}: an event was sent under an id that is not its seq")
        if shown != journal:
            first = next((n for n, (one, other) in enumerate(zip(shown, journal, strict=False), 1) if one != other), min(len(shown), len(journal)) + 1)
            numbers = [event["seq"] for event in shown]
            counts = f"{len(shown)} of {len(journal)} events over {seen.connections} connections"
            found.append(f"C4 run {run_id}: a client saw {counts}; they differ at {first}; the last it saw are {numbers[-5:]}")
    return found


def c5_effects(evidence: Evidence) -> list[str]:
    """In the ledger each effect has one key; it was carried out at least once, no more often than attempts were announced, and once at most where promised."""
    arrivals = evidence.arrivals()
    known = {tag for started in evidence.started.values() for tag in started.expected.effects}
    tokens = {started.inputs["token"] for started in evidence.started.values()}
    found = [f"C5 tag {tag}: an effect nobody expected" for tag in arrivals if tag not in known and tag.partition("/")[0] in tokens]
    keys: dict[str, str] = {}
    for tag, entries in arrivals.items():
        for key in {entry["key"] for entry in entries if entry["kind"] == "effect"}:
            if keys.setdefault(key, tag) != tag:
                found.append(f"C5 key {key}: it was used for {tag} and for {keys[key]}")
    children = _children(evidence)
    for run_id, started in evidence.started.items():
        found += [f"C5 run {run_id} ({started.program.name}): {text}" for text in _effects(evidence, run_id, started, arrivals, children)]
    return found


def _children(evidence: Evidence) -> dict[str, Journal]:
    """Token → what the journal says, for every run that carries effects: the runs that were started, and the children they started."""
    found = {}
    for events in evidence.journals.values():
        inputs = ((events[0]["body"] or {}).get("inputs") or {}) if events else {}
        if isinstance(inputs, dict) and "token" in inputs:
            found[inputs["token"]] = read_journal(events)
    return found


def _effects(evidence: Evidence, run_id: str, started: Started, arrivals: dict[str, list[dict[str, Any]]], journals: dict[str, Journal]) -> Iterator[str]:
    end = evidence.end(run_id)
    if end is None:
        return
    for tag, effect in started.expected.effects.items():
        raw = arrivals.get(tag, [])
        token = _token_of(tag, effect.step)
        journal = journals.get(token, Journal())
        step = effect.step.partition("#")[0].partition("[")[0]
        told = journal.steps.get(step, Told())
        done = told.status == SUCCEEDED or (end["event"] == "run.succeeded" and not effect.at_most_once)
        least = effect.least if done else 0
        if effect.at_most_once and told.status == SUCCEEDED and not told.decided:
            least = 1
        attempts = journal.attempts[effect.step]
        keys = {entry["key"] for entry in raw if entry["kind"] == "effect"}
        if len(raw) < least:
            yield f"{tag}: {len(raw)} arrivals, at least {least} were expected"
        carried = [entry for entry in raw if entry.get("script") != "429"]  # what was refused as too much goes out again within its attempt
        if len(carried) > attempts:
            yield f"{tag}: {len(carried)} arrivals, and the journal announced {attempts} attempts of {effect.step}"
        if effect.at_most_once and len(raw) > 1:
            yield f"{tag}: {len(raw)} arrivals of a step that may be carried out once"
        if len(keys) > 1:
            yield f"{tag}: its attempts used {len(keys)} different keys"
        if effect.kind == "effect" and least and sum(entry["first"] for entry in raw) != 1:
            yield f"{tag}: the keyed ledger has it {sum(entry['first'] for entry in raw)} times"


def _token_of(tag: str, step: str) -> str:
    """The token of the run that carries the effect out: the tag without its last part, or two for an item or an iteration."""
    parts = tag.split("/")
    return "/".join(parts[:-2] if "[" in step or "#" in step else parts[:-1])


def c6_webhooks(evidence: Evidence) -> list[str]:
    """Each webhook that was to come came, and one id always carries the same payload. Nothing is asked where nothing was subscribed."""
    found = [f"C6 trap {entry['path']}: somebody went where nobody may" for entry in evidence.ledger if entry["kind"] == "trap"]
    if not evidence.endpoints:
        return found
    payloads: dict[str, str] = {}
    delivered: dict[str, set[str]] = {}
    for entry in evidence.ledger:
        if entry["kind"] != "webhook":
            continue
        number = entry["headers"].get("webhook-id", "")
        if entry["signed"] is False or not number:
            found.append(f"C6 webhook {number}: its signature is not valid")
        if payloads.setdefault(number, entry["body"]) != entry["body"]:
            found.append(f"C6 webhook {number}: two deliveries differ")
        if entry["status"] < 300:
            for run_id in _named(entry["body"]):
                delivered.setdefault(run_id, set()).add(entry["name"])
    for run_id in evidence.started:
        if evidence.end(run_id) and (missing := set(evidence.endpoints) - delivered.get(run_id, set())):
            found.append(f"C6 run {run_id}: its end never reached {', '.join(sorted(missing))}")
    return found


def _named(body: str) -> set[str]:
    """Ids of runs a delivery speaks of."""
    import json

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "run_id" and isinstance(inner, str):
                    yield inner
                yield from walk(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner)

    return set(walk(json.loads(body)))


def c7_progress(evidence: Evidence) -> list[str]:
    """No run stood still; the journals of those that did are shown."""
    return [f"C7 {text}" for text in evidence.stuck]


def c8_successes(evidence: Evidence) -> list[str]:
    """Most requests succeeded, so that the trial says something; and no answer was one that no fault excuses."""
    tries = sum(evidence.counts.values())
    good = sum(count for outcome, count in evidence.counts.items() if outcome.isdigit() and int(outcome) < 500 and int(outcome) != 429)
    found = [problem for problem in evidence.problems if not problem.startswith("C1")]
    if not tries or good / tries < evidence.least_share:
        found.append(f"C8 only {good} of {tries} requests succeeded: {dict(evidence.counts)}")
    return found + [f"C8 {text}" for text in evidence.wrong if ": 500 " in text]


def c9_leftovers(evidence: Evidence) -> list[str]:
    """No process or actor is left that nobody wants."""
    return [f"C9 {text}" for text in evidence.left_over]


def c10_resources(evidence: Evidence) -> list[str]:
    """Memory and open files per process are what they were after the warm-up, within ten percent and a small slack."""
    found = []
    for role, (_, memory, files) in evidence.after.items():
        if role in evidence.before:
            _, memory_before, files_before = evidence.before[role]
            if memory > memory_before * MEMORY_SHARE + MEMORY_SLACK + CACHES.get(role, 0):
                found.append(f"C10 {role}: {memory:.0f} MiB each, {memory_before:.0f} MiB after the warm-up")
            if files > files_before * FILES_SHARE + FILES_SLACK:
                found.append(f"C10 {role}: {files:.0f} open files each, {files_before:.0f} after the warm-up")
    return found


def fsck_clean(evidence: Evidence) -> list[str]:
    """The invariants of the journal, by the product's own check."""
    return [f"fsck {text}" for text in evidence.fsck]


ALL: tuple[Check, ...] = (
    c1_runs_exist,
    c2_results,
    c3_journals,
    c4_streams,
    c5_effects,
    c6_webhooks,
    c7_progress,
    c8_successes,
    c9_leftovers,
    c10_resources,
    fsck_clean,
)


def judge(evidence: Evidence, further: tuple[Check, ...] = ()) -> list[str]:
    """All findings of all checks."""
    found = []
    for check in (*ALL, *further):
        findings = check(evidence)
        found += findings[:MOST_FINDINGS]
        if len(findings) > MOST_FINDINGS:
            found.append(f"{findings[0].split()[0]} and {len(findings) - MOST_FINDINGS} more")
    return found
