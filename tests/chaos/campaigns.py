"""Many trials: one fault in shards, a selection that fits into some minutes, everything up to its bar, and the fences taken out."""

import argparse
import math
import random
import time
from dataclasses import replace

from tests.chaos import results
from tests.chaos.faults import Fault, load_faults
from tests.chaos.fences import TRIALS
from tests.chaos.trial import Outcome, Plan, carry_out, machine

LEAST = 2
"""Injections of a trial that is still worth its start."""


def show_list() -> None:
    """What can be run."""
    for fault in load_faults().values():
        print(f"{fault.name:<8} {fault.title}; {', '.join(fault.databases)}; quick {fault.quick}, bar {fault.bar}")


async def run(options: argparse.Namespace) -> int:
    """`run F1 --count 500 --runs 5000`: as many trials as that takes; those already in the results count."""
    fault = load_faults()[options.fault]
    databases = fault.databases if options.database == "both" else (options.database,)
    seed, bad = _seed(options), 0
    for database in databases:
        bad += await _shards(
            fault, database, options.count or math.ceil(fault.bar / len(databases)), options.runs, options.shard_size or fault.shard, seed, options
        )
    return 1 if bad else 0


async def _shards(fault: Fault, database: str, count: int, runs: int | None, size: int, seed: int, options: argparse.Namespace) -> int:
    bad = failed_in_a_row = 0
    while True:
        injected, had, shards = results.done(options.results, fault.name, database)
        left = count - injected
        if left <= 0 or failed_in_a_row >= options.tries:
            return bad
        wanted = min(size, left)
        share = None if runs is None else max(1, math.ceil((runs - had) * wanted / left))
        outcome = await _one(Plan(fault, database, seed + shards + 1000 * bad, wanted, share, home=options.home, keep=options.keep), options)
        failed_in_a_row = failed_in_a_row + 1 if outcome.violations or not outcome.done else 0
        bad += bool(outcome.violations)


async def select(options: argparse.Namespace) -> int:
    """Faults in random order, each on one of its databases, as many as the time allows; small counts."""
    seed = _seed(options)
    rng = random.Random(seed)
    deadline = time.monotonic() + options.minutes * 60
    waiting = [(fault, database) for fault in load_faults().values() for database in fault.databases]
    rng.shuffle(waiting)
    first = {fault.name: (fault, database) for fault, database in reversed(waiting)}
    order = [*first.values(), *(each for each in waiting if each not in first.values())]
    bad = 0
    for fault, database in order:
        if time.monotonic() + fault.seconds > deadline:
            continue
        count = max(LEAST, math.ceil(fault.quick / len(fault.databases)))
        outcome = await _one(Plan(fault, database, rng.randrange(2**31), count, home=options.home, keep=options.keep), options)
        bad += bool(outcome.violations)
    return 1 if bad else 0


async def long(options: argparse.Namespace) -> int:
    """Every fault up to its bar (or a multiple of it), in shards; results there already count."""
    bad = 0
    seed = _seed(options)
    for fault in load_faults().values():
        if options.only and fault.name not in options.only:
            continue
        for database in fault.databases:
            count = max(LEAST, math.ceil(fault.bar * options.factor / len(fault.databases)))
            bad += await _shards(fault, database, count, None, fault.shard, seed, options)
    return 1 if bad else 0


async def fences(options: argparse.Namespace) -> int:
    """The same harness with guards out. Where nothing else holds, a trial that finds nothing is the failure."""
    faults, seed, wrong = load_faults(), _seed(options), []
    for trial in TRIALS:
        if options.only and trial.fences not in options.only:
            continue
        fault = replace(faults[trial.fault], **trial.changes)
        outcome = await _one(Plan(fault, options.database, seed, trial.count, fence=trial.fences, home=options.home, keep=options.keep), options)
        found = [text for text in outcome.violations if not text.startswith("harness")]
        verdict = f"noticed, by {len(found)} findings" if found else "nothing was found"
        print(f"without {trial.fences}: {verdict}; {trial.why}", flush=True)
        wrong += [] if bool(found) == trial.noticed else [trial.fences]
    print(f"not as it should be: {', '.join(wrong)}" if wrong else "all as it should be")
    return 1 if wrong else 0


async def _one(plan: Plan, options: argparse.Namespace) -> Outcome:
    fence = f" without {plan.fence}" if plan.fence else ""
    print(f"{plan.fault.name} on {plan.database}{fence}: {plan.count} injections, seed {plan.seed} …", flush=True)
    outcome = await carry_out(plan)
    results.append(options.results, outcome.line())
    over = outcome.take_over
    times = f"; take-over p50 {over['p50']:.2f} s, p95 {over['p95']:.2f} s, max {over['max']:.2f} s of {over['count']}" if over else ""
    print(f"  {outcome.done} injections, {outcome.runs} runs, {outcome.seconds:.0f} s{times}; {len(outcome.violations)} violations", flush=True)
    for name, value in outcome.notes.items():
        print(f"    {name}: {value}")
    for violation in outcome.violations:
        print(f"  ! {violation}", flush=True)
    if outcome.violations:
        print(f"  kept: {outcome.folder}", flush=True)
    return outcome


def _seed(options: argparse.Namespace) -> int:
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**31)
    print(f"seed {seed}, on {machine()}", flush=True)
    return int(seed)
