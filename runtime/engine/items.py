"""The items of a map: starting them within the concurrency, taking their results, deciding when the map is done."""

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol

from runtime.engine.asks import ask
from runtime.engine.begin import attempt_timeout, map_values
from runtime.engine.budget import ask_for_leave, waits_for_leave
from runtime.engine.commands import StartChild, StartItems
from runtime.engine.events import Kind
from runtime.engine.finish import child_id, crashed, error, fail, poison
from runtime.engine.retry import ALONE_AFTER, BUDGET_CODE, CRASH_CODES, crashed_out, retry_at
from runtime.engine.scope import Unloaded
from runtime.engine.state import Items
from runtime.engine.turn import MAX_ITEMS, Turn
from runtime.errors import ExpressionFailed
from runtime.references import REFERENCE

MAX_ARTIFACTS = 10_000
"""So many artifacts of one step its run knows by name, and can show to models; all others are kept all the same."""


class Outcome(Protocol):
    """How one attempt of a step or an item ended; `error` is None when it has an output."""

    @property
    def step(self) -> str: ...
    @property
    def iteration(self) -> int | None: ...
    @property
    def index(self) -> int | None: ...
    @property
    def attempt(self) -> int: ...
    @property
    def output(self) -> Any: ...
    @property
    def error(self) -> dict[str, Any] | None: ...
    @property
    def messages(self) -> Any: ...
    @property
    def artifacts(self) -> Sequence[dict[str, Any]]: ...
    @property
    def asks(self) -> Sequence[Mapping[str, Any]]: ...


def feed(turn: Turn, name: str, items: Items) -> None:
    """Start what may start, or end the map when nothing is left. Raises ExpressionFailed, Unloaded."""
    allowed = bearable(items.spec.max_failures, items.total)
    if len(items.failed) > allowed:
        fail(turn, name, _too_many(items, allowed))
    elif not items.open:
        turn.emit(Kind.STEP_SUCCEEDED, name, attempt=1, body={"failed": len(items.failed)} if items.failed else None)
    else:
        chosen = _startable(turn, items, min(items.spec.concurrency - len(items.running), MAX_ITEMS))
        try:
            _start(turn, name, items, chosen)
        except Unloaded:
            for index in items.retrying.keys() & chosen:
                heappush(items.due, (items.retrying[index], index))
            raise


def bearable(threshold: int | str, total: int) -> int:
    """How many failed items a map of `total` items may have: a count, or a percentage of the total, rounded down."""
    return threshold if isinstance(threshold, int) else total * int(threshold[:-1]) // 100


def take(turn: Turn, name: str, items: Items, outcomes: Iterable[Outcome]) -> None:
    """Record the results of running items; results of attempts that no longer count are dropped."""
    done: list[list[Any]] = []
    failed: list[list[Any]] = []
    retrying: list[list[Any]] = []
    saved: list[dict[str, Any]] = []
    asking: list[list[Any]] = []
    asks: list[tuple[int, int, Sequence[Mapping[str, Any]]]] = []
    seen: set[int] = set()
    for outcome in outcomes:
        index = outcome.index
        if index is None or index in seen or index not in items.running or items.attempts[index] != outcome.attempt:
            continue
        seen.add(index)
        if outcome.asks:
            asking.append([index, outcome.attempt])
            asks.append((index, outcome.attempt, outcome.asks))
            continue
        if outcome.error is None:
            done.append([index, outcome.output])
            if outcome.artifacts:
                saved += named(outcome.artifacts, room=MAX_ARTIFACTS - len(turn.step(name)[1].artifacts) - len(saved))
            continue
        failure, due = _judged(turn, name, index, outcome.attempt, outcome.error)
        if due is None:
            failed.append([index, outcome.attempt, failure])
        else:
            retrying.append([index, outcome.attempt, failure, due])
    if seen:
        lists = (("done", done), ("failed", failed), ("retrying", retrying), ("asking", asking), ("artifacts", saved))
        body = {key: value for key, value in lists if value}
        turn.emit(Kind.ITEMS_FINISHED, name, body=body)
    for index, attempt, questions in asks:
        ask(turn, name, index, attempt, questions)
    short = next((failure for _index, _attempt, failure, _due in retrying if waits_for_leave(turn.state, failure)), None)
    if short is not None:
        ask_for_leave(turn, short)


def named(artifacts: Sequence[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """Artifacts as events name them: with references, so that their content is kept as long as the event. At most `room`."""
    return [
        {"name": one["name"], REFERENCE: {"sha256": one["digest"], "size": one["size"], "media_type": one["media_type"]}} for one in artifacts[: max(0, room)]
    ]


def _judged(turn: Turn, name: str, index: int, attempt: int, failure: dict[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The failure as it is recorded, and when (ms) the item is tried again; None when it is not. Nobody is asked about one item of many."""
    planned, step = turn.step(name)
    items = step.items
    if waits_for_leave(turn.state, failure):
        return failure, turn.now
    if failure.get("code") in CRASH_CODES:
        if planned.on_crash != "retry":
            return crashed(attempt=attempt), None
        over = items is not None and crashed_out(items.crashes.get(index, 0) + 1)
        return (poison(failure), None) if over else (failure, turn.now)
    failures = 1 + (0 if items is None else items.failures.get(index, 0))
    return failure, retry_at(planned.retry, failures, failure, now=turn.now, seed=turn.state.seed, key=f"{name}[{index}]")


def restart(turn: Turn, name: str, items: Items) -> None:
    """After a change of owner: what was running may have been lost. Start it again, or call its outcome unknown. Raises Unloaded."""
    lost = sorted(items.running)
    if turn.step(name)[0].on_crash == "retry":
        _start(turn, name, items, lost)
    elif lost:
        body = {"failed": [[index, items.attempts[index], crashed(attempt=items.attempts[index])] for index in lost]}
        turn.emit(Kind.ITEMS_FINISHED, name, body=body)


def _startable(turn: Turn, items: Items, room: int) -> list[int]:
    """Indices to start now: retries that are due first, then new ones, at most `room`."""
    chosen: list[int] = []
    while items.due and items.due[0][0] <= turn.now and len(chosen) < room:
        due, index = heappop(items.due)
        if items.retrying.get(index) == due:
            chosen.append(index)
    index = items.next
    while index < items.total and len(chosen) < room:
        if index not in items.finished and index not in items.failed:
            chosen.append(index)
        index += 1
    return chosen


def _start(turn: Turn, name: str, items: Items, indices: Sequence[int]) -> None:
    """Start these items. Whatever may fail or lack a value comes before the first event."""
    planned, step = turn.step(name)
    if not indices:
        return
    values = map_values(turn, name, items.over)
    if len(values) != items.total:
        raise ExpressionFailed(f"map.over gives {len(values)} items now, but the items taken over from another run were {items.total}")
    if planned.remote:
        scope = turn.scope(name, resolve=False).pick(planned.scope_names)
        started = _intend(turn, name, items, indices)
        for alone in (False, True):
            batch = tuple((index, attempt, values[index]) for index, attempt in started if (items.crashes.get(index, 0) >= ALONE_AFTER) is alone)
            if batch:
                calls = tuple(call for index, *_rest in batch for call in step.calls.get(index, ()))
                turn.commands.append(StartItems(name, batch, scope, attempt_timeout(turn, name), calls, alone=alone, recovered=turn.recovering))
    else:
        rendered = _rendered(turn, name, indices, values)
        started = _intend(turn, name, items, indices)
        _carry_out(turn, name, started, rendered)
    if len(indices) >= MAX_ITEMS:
        turn.state.frontier[name] = None
        turn.more = True


def _intend(turn: Turn, name: str, items: Items, indices: Sequence[int]) -> list[tuple[int, int]]:
    """Write the intents; returns (index, attempt)."""
    groups: dict[int, list[int]] = {}
    for index in indices:
        groups.setdefault(items.attempts[index] + 1, []).append(index)
    for attempt, group in sorted(groups.items()):
        turn.emit(Kind.ITEMS_STARTED, name, body={"items": ranges(group), "attempt": attempt})
    return [(index, items.attempts[index]) for index in indices]


def _rendered(turn: Turn, name: str, indices: Sequence[int], values: list[Any]) -> dict[int, Any]:
    """index → the step's values for that item, or the ExpressionFailed it met."""
    template = turn.step(name)[0].values
    rendered: dict[int, Any] = {}
    for index in indices:
        try:
            rendered[index] = {} if template is None else template.render(turn.scope(name, item=values[index], index=index))
        except ExpressionFailed as failure:
            rendered[index] = failure
    return rendered


def _carry_out(turn: Turn, name: str, started: Sequence[tuple[int, int]], rendered: dict[int, Any]) -> None:
    """A `set` is computed already; a `workflow` becomes one child run per item."""
    spec = turn.step(name)[0].step.workflow
    done: list[list[Any]] = []
    failed: list[list[Any]] = []
    for index, attempt in started:
        values = rendered[index]
        if isinstance(values, ExpressionFailed):
            failed.append([index, attempt, error("expression_failed", str(values))])
        elif spec is None:
            done.append([index, values])
        else:
            child = child_id(turn, name, None, index, attempt)
            turn.commands.append(StartChild(name, None, index, attempt, child, spec.name, spec.version, values))
    if done or failed:
        turn.emit(Kind.ITEMS_FINISHED, name, body={key: value for key, value in (("done", done), ("failed", failed)) if value})


def ranges(indices: Sequence[int]) -> list[list[int]]:
    """Ascending indices as inclusive `[first, last]` ranges."""
    found: list[list[int]] = []
    for index in sorted(indices):
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return found


def _too_many(items: Items, allowed: int) -> dict[str, Any]:
    """Why the map has failed. A budget that is used up is the reason itself: it would have let no further item pass."""
    first = min(items.failed)
    short = next((failure for failure in items.failed.values() if failure.get("code") == BUDGET_CODE), None)
    if short is not None:
        return short
    return error(
        "too_many_failures",
        f"{len(items.failed)} of {items.total} items failed, {allowed} are allowed; item {first}: {items.failed[first].get('message', '')}",
        failed=len(items.failed),
        total=items.total,
        allowed=allowed,
        first={"index": first, "error": items.failed[first]},
    )
