"""A stage on which a cassette says what the world said when it was recorded, and objects at the first thing that is asked differently."""

from base64 import b64decode
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from runtime.agents.context import AgentContext, Execute, Source
from runtime.errors import StepFailed
from runtime.gateway import Gateway
from runtime.simulation.cassette import Attempt, Call, Cassette
from runtime.simulation.people import TENANT, Decision, People, Sending
from runtime.simulation.stand_ins import NamedModels, NamedTools
from runtime.steps.context import Work, save
from runtime.steps.outcome import Outcome

DIFFERS = "cassette_differs"

_Key = tuple[str, int | None]


class ReplayStage:
    """Gives what a cassette holds. `on` tells it whose runs these are, before the first of them starts."""

    def __init__(self, cassette: Cassette, *, recorded_python: bool = False) -> None:
        """`recorded_python`: python steps are answered, too, and not carried out."""
        self._attempts: dict[_Key, deque[Attempt]] = {(entry.step, entry.index): deque(entry.attempts) for entry in cassette.steps}
        self._answered = {"agent", "http"} | ({"python"} if recorded_python else set())
        self._kinds = {(entry.step, entry.index): entry.kind for entry in cassette.steps}
        self._open: dict[_Key, tuple[Attempt, dict[tuple[str, str | None], deque[Call]]]] = {}
        self._paths: dict[str, str] = {}
        self._gateway: Gateway | None = None
        self.differences: list[str] = []
        """What was asked differently than it was recorded, as sentences, the first one first."""

    def on(self, gateway: Gateway) -> None:
        """The runs are those of this gateway."""
        self._gateway = gateway

    async def answer(self, kind: str, spec: dict[str, Any], work: Work) -> Outcome | None:  # noqa: ARG002 - the protocol's
        """The recorded outcome of an http step (a python step); None for an agent, whose calls are answered one by one. Raises StepFailed."""
        if kind not in self._answered:
            return None
        key = await self._key(work)
        attempts = self._attempts.get(key)
        if not attempts:
            how = "once more" if attempts is not None else "at all"
            raise self._differs(f"{_told(key)} was not carried out {how} when this was recorded")
        attempt = attempts.popleft()
        if kind == "agent" and (attempt.calls or attempt.error is not None or work.call.mode == "simulated"):
            known: dict[tuple[str, str | None], deque[Call]] = {}
            for call in attempt.calls:
                known.setdefault((call.name, call.id), deque()).append(call)
            self._open[key] = (attempt, known)
            return None
        if attempt.error is not None:
            raise _failure(attempt)
        for saved in attempt.saved:
            await save(work, self._home.artifacts, self._home.settings.max_output_bytes, saved.name, b64decode(saved.base64), saved.media_type)
        return Outcome(attempt.output)

    def context(self, context: AgentContext, spec: dict[str, Any], work: Work) -> AgentContext:  # noqa: ARG002 - the protocol's
        """An agent's surroundings, all of whose calls come from the cassette."""
        key = (self._path(work), work.index)
        return replace(context, providers=NamedModels(), toolsets=NamedTools(()), source=self._source(key))

    def left(self) -> Iterator[str]:
        """What was recorded and not asked for, as sentences."""
        for key, attempts in self._attempts.items():
            if attempts and self._kinds[key] in self._answered:
                yield f"{_told(key)} was carried out {len(attempts)} times more when this was recorded"
        for key, (attempt, known) in self._open.items():
            count = sum(len(queue) for (name, _), queue in known.items() if name not in {"discarded", "fallback"})
            if count and attempt.error is None:
                yield f"{_told(key)} made {count} more calls when this was recorded"

    def _source(self, key: _Key) -> Source:
        attempt, known = self._open[key]

        async def source(name: str, number: int, call_id: str | None, asked: str | None, _execute: Execute) -> Any:
            queue = known.get((name, call_id)) or known.get((name, None))
            if not queue:
                if attempt.error is not None:
                    raise _failure(attempt)
                raise self._differs(f"{_told(key)} made no call {number} of {name} when this was recorded")
            call = queue.popleft()
            if asked is not None and call.asked is not None and asked != call.asked:
                raise self._differs(f"call {number} of {name} in {_told(key)} asks something else than when this was recorded")
            return call.result

        return source

    async def _key(self, work: Work) -> _Key:
        """Where a step stands. The path of a child run is known once it was asked for."""
        run_id = work.call.run_id
        if run_id not in self._paths:
            self._paths[run_id] = await self._path_of(run_id)
        return self._path(work), work.index

    def _path(self, work: Work) -> str:
        return f"{self._paths[work.call.run_id]}{work.call.step_key}"

    async def _path_of(self, run_id: str) -> str:
        created = await self._home.created(await self._home.run(TENANT, run_id))
        parent = (created.body or {}).get("parent")
        if parent is None:
            return ""
        index = "" if parent.get("index") is None else f"[{parent['index']}]"
        return f"{await self._path_of(parent['run_id'])}{parent['step']}{index}/"

    @property
    def _home(self) -> Gateway:
        if self._gateway is None:
            raise RuntimeError("a replay was not told whose runs it answers")
        return self._gateway

    def _differs(self, message: str) -> StepFailed:
        self.differences.append(message)
        return StepFailed(DIFFERS, message, retryable=False)


def people_of(cassette: Cassette) -> People:
    """What people gave to the recorded run."""
    decisions: dict[str, deque[Decision]] = {}
    for one in cassette.approvals:
        decisions.setdefault(one.step, deque()).append(Decision(one.approved, one.form, one.comment, one.by, one.after))
    sendings: dict[str, deque[Sending]] = {}
    for signal in cassette.signals:
        sendings.setdefault(signal.signal, deque()).append(Sending(signal.payload, signal.after))
    return People(decisions, sendings)


def _told(key: _Key) -> str:
    path, index = key
    return f"step {path}" + ("" if index is None else f", item {index},")


def _failure(attempt: Attempt) -> StepFailed:
    error: dict[str, Any] = dict(attempt.error or {})
    return StepFailed(
        str(error.get("code", "failed")),
        str(error.get("message", "")),
        retryable=bool(error.get("retryable", True)),
        retry_after=error.get("retry_after"),
        details=error.get("details"),
    )
