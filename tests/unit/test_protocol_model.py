"""The ownership protocol, explored exhaustively: every interleaving of two workers, wrong failure detection, crashes and lost answers.

One run of two dependent steps. The database is a log, an epoch and a cancel flag; a worker is what it remembers. Anybody may claim
at any time (the failure detector is allowed to be wrong), so a worker that was taken over goes on as a zombie until it is fenced.
Taking away what guards a property must give a counterexample: a model that cannot fail proves nothing.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import pytest

STEPS = 2
Entry = tuple[str, int, int, int]
"""(kind, epoch, step, attempt)"""


@dataclass(frozen=True)
class Rules:
    """The protocol; each switch off is a variant."""

    checks_epoch: bool = True
    checks_head: bool = True
    claim_raises_epoch: bool = True
    checks_end: bool = True
    cancel_guards_end: bool = True
    intent_first: bool = True
    commit_before_ack: bool = True
    at_most_once: bool = False
    """The policy of a step that must not run twice: after a crash nobody starts it again."""
    promises_at_most_once: bool = False
    epochs: int = 3
    attempts: int = 3
    crashes: int = 2


class Worker(NamedTuple):
    """What a worker remembers: its epoch and head, per step (attempts, finished), and the attempt it is carrying out."""

    epoch: int
    head: int
    steps: tuple[tuple[int, bool], ...]
    doing: tuple[int, int, bool] | None = None
    """(step, attempt, whether the effect has happened)"""


class State(NamedTuple):
    log: tuple[Entry, ...] = ()
    epoch: int = 0
    cancel: bool = False
    workers: tuple[Worker | None, ...] = (None, None)
    effects: tuple[tuple[int, int], ...] = ()
    acks: frozenset[tuple[str, int]] = frozenset()
    """Steps whose result somebody outside was told."""
    crashes: int = 0


def ended(state: State) -> bool:
    return any(entry[0] in ("succeeded", "canceled") for entry in state.log)


def with_worker(state: State, place: int, worker: Worker | None) -> State:
    return state._replace(workers=tuple(worker if index == place else other for index, other in enumerate(state.workers)))


def moves(state: State, rules: Rules) -> Iterator[State]:
    """Every state one step away."""
    if not state.cancel and not ended(state):
        yield state._replace(cancel=True)  # the API accepts a cancel: one transaction, answered 202
    for place, worker in enumerate(state.workers):
        if state.epoch < rules.epochs and not (rules.checks_end and ended(state)):
            yield from claims(state, place, rules)
        if worker is None:
            continue
        if state.crashes < rules.crashes:
            yield with_worker(state, place, None)._replace(crashes=state.crashes + 1)
        yield from turns(state, place, worker, rules)


def claims(state: State, place: int, rules: Rules) -> Iterator[State]:
    epoch = state.epoch + 1 if rules.claim_raises_epoch else max(1, state.epoch)
    if epoch == state.epoch and sum(entry[0] == "claimed" for entry in state.log) >= rules.epochs:
        return
    log = (*state.log, ("claimed", epoch, 0, 0))
    steps = tuple(
        (max((entry[3] for entry in log if entry[:1] == ("started",) and entry[2] == step), default=0), ("finished", step) in {(e[0], e[2]) for e in log})
        for step in range(STEPS)
    )
    claimed = state._replace(log=log, epoch=epoch)
    yield with_worker(claimed, place, Worker(epoch, len(log), steps))
    yield with_worker(claimed, place, None)  # committed, but the answer was lost: the worker knows nothing of it


def turns(state: State, place: int, worker: Worker, rules: Rules) -> Iterator[State]:
    if worker.doing is not None:
        yield from carry_on(state, place, worker, worker.doing, rules)
        return
    step = next((index for index, (_, finished) in enumerate(worker.steps) if not finished), None)
    if state.cancel:
        yield from append(state, place, worker, ("canceled", worker.epoch, 0, 0), worker, rules)
    if step is None:
        yield from append(state, place, worker, ("succeeded", worker.epoch, 0, 0), worker, rules)
        return
    attempt = worker.steps[step][0] + 1
    if attempt > rules.attempts or (rules.at_most_once and attempt > 1):
        return
    begun = worker._replace(steps=remember(worker, step, (attempt, False)), doing=(step, attempt, False))
    if rules.intent_first:
        yield from append(state, place, worker, ("started", worker.epoch, step, attempt), begun, rules)
    else:
        yield with_worker(state, place, begun)._replace(effects=(*state.effects, (step, attempt)))


def carry_on(state: State, place: int, worker: Worker, doing: tuple[int, int, bool], rules: Rules) -> Iterator[State]:
    step, attempt, happened = doing
    if not happened:
        done = worker._replace(doing=(step, attempt, True))
        yield with_worker(state, place, done)._replace(effects=(*state.effects, (step, attempt)))
        return
    finished = worker._replace(steps=remember(worker, step, (attempt, True)), doing=None)
    told = state.acks | {("finished", step)}
    if not rules.commit_before_ack and told != state.acks:
        yield state._replace(acks=told)
    for after in append(state, place, worker, ("finished", worker.epoch, step, attempt), finished, rules):
        knows = after.workers[place] == finished._replace(head=len(after.log))
        yield after._replace(acks=told) if knows else after


def remember(worker: Worker, step: int, value: tuple[int, bool]) -> tuple[tuple[int, bool], ...]:
    return tuple(value if index == step else known for index, known in enumerate(worker.steps))


def append(state: State, place: int, worker: Worker, entry: Entry, after: Worker, rules: Rules) -> Iterator[State]:
    """The guarded append. The worker learns that it is committed, or that it is fenced, or (the answer lost) forgets everything."""
    fenced = (
        (rules.checks_epoch and state.epoch != worker.epoch) or (rules.checks_head and len(state.log) != worker.head) or (rules.checks_end and ended(state))
    )
    if fenced:
        yield with_worker(state, place, None)
        return
    if entry[0] == "succeeded" and state.cancel and rules.cancel_guards_end:
        return  # CANCEL_FIRST: nothing written; the worker appends `canceled` instead
    written = state._replace(log=(*state.log, entry))
    over = entry[0] in ("succeeded", "canceled")
    yield with_worker(written, place, None if over else after._replace(head=len(written.log)))
    yield with_worker(written, place, None)


def violation(state: State, rules: Rules) -> str | None:
    """The first invariant this state breaks."""
    kinds = [entry[0] for entry in state.log]
    ends = [kind for kind in kinds if kind in ("succeeded", "canceled")]
    epochs = [entry[1] for entry in state.log]
    if any(later < earlier for earlier, later in pairwise(epochs)):
        return "I2 epochs"
    if len(ends) > 1 or (ends and kinds[-1] != ends[0]):
        return "I3 one end, last"
    if state.cancel and "succeeded" in ends:
        return "I8 accepted cancel"
    return steps_violated(state, rules)


def steps_violated(state: State, rules: Rules) -> str | None:
    finished: list[int] = []
    started: set[tuple[int, int]] = set()
    for kind, _, step, attempt in state.log:
        if kind in ("started", "finished") and step in finished:
            return "I4 after the step's end"
        if kind == "started" and any(earlier not in finished for earlier in range(step)):
            return "I5 dependencies"
        if kind == "started":
            started.add((step, attempt))
        elif kind == "finished":
            finished.append(step)
    if any(effect not in started for effect in state.effects) or len(set(state.effects)) != len(state.effects):
        return "I6 effects"
    if any(step not in finished for _, step in state.acks):
        return "I7 acknowledged"
    if rules.promises_at_most_once and len({step for step, _ in state.effects}) != len(state.effects):
        return "at most once"
    return None


class Searched(NamedTuple):
    states: int
    broken: str | None
    steps: int


def search(rules: Rules) -> Searched:
    """Breadth first, so that a counterexample is a shortest one."""
    start = State()
    seen = {start}
    queue = deque([(start, 0)])
    while queue:
        state, depth = queue.popleft()
        broken = violation(state, rules)
        if broken is not None:
            return Searched(len(seen), broken, depth)
        for after in moves(state, rules):
            if after not in seen:
                seen.add(after)
                queue.append((after, depth + 1))
    return Searched(len(seen), None, 0)


def test_the_protocol_keeps_every_invariant_in_every_interleaving():
    searched = search(Rules())
    assert searched.broken is None
    assert searched.states > 10_000


@pytest.mark.parametrize("without", ["checks_epoch", "checks_head"])
def test_epoch_and_head_are_two_fences_and_each_is_enough(without: str):
    assert search(replace(Rules(), **{without: False})).broken is None


def test_at_most_once_holds_by_its_policy_and_not_without_it():
    promise = replace(Rules(), promises_at_most_once=True)
    assert search(replace(promise, at_most_once=True)).broken is None
    assert search(promise).broken == "at most once"


@pytest.mark.parametrize(
    ("removed", "broken", "longest"),
    [
        pytest.param({"checks_epoch": False, "checks_head": False}, "I2 epochs", 4, id="no-fence"),
        pytest.param({"claim_raises_epoch": False, "checks_head": False}, "I4 after the step's end", 6, id="epoch-not-raised"),
        pytest.param({"checks_end": False}, "I3 one end, last", 4, id="no-guard-at-the-end"),
        pytest.param({"cancel_guards_end": False}, "I8 accepted cancel", 9, id="end-ignores-cancel"),
        pytest.param({"intent_first": False}, "I6 effects", 2, id="effect-before-intent"),
        pytest.param({"commit_before_ack": False}, "I7 acknowledged", 4, id="acknowledge-before-commit"),
    ],
)
def test_without_its_guard_a_property_falls(removed: dict[str, bool], broken: str, longest: int):
    searched = search(replace(Rules(), **removed))
    assert searched.broken == broken
    assert searched.steps <= longest
