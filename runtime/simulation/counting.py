"""A stage that counts what it is asked, for the checks of a test."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from runtime.agents.context import AgentContext, Execute, Source
from runtime.steps.context import Work
from runtime.steps.outcome import Outcome
from runtime.steps.stage import Stage

MODEL = "model"


class Counting:
    """Passes everything on to another stage. Calls are counted once each, replayed ones not again."""

    def __init__(self, stage: Stage, workflow: str) -> None:
        """`workflow`: the one whose steps are known by their id alone; those of others by `workflow/step`."""
        self.inner, self._workflow = stage, workflow
        self._attempts: Counter[str] = Counter()
        self._calls: dict[str, Counter[str]] = {}

    async def answer(self, kind: str, spec: dict[str, Any], work: Work) -> Outcome | None:
        self._attempts[_name(work)] += 1
        return await self.inner.answer(kind, spec, work)

    def context(self, context: AgentContext, spec: dict[str, Any], work: Work) -> AgentContext:
        given = self.inner.context(context, spec, work)
        counts = self._calls.setdefault(_name(work), Counter())
        if work.call.mode == "simulated" and not given.scripted:
            counts[MODEL] += 1  # the stand-in for a model answers once, and journals nothing
        return replace(given, source=_counted(given.source, counts))

    def of(self, step: str) -> Mapping[str, int]:
        """Calls by name, `model` or a tool's; of a step that is no agent `attempts`."""
        name = step if "/" in step else f"{self._workflow}/{step}"
        calls = self._calls.get(name)
        return {"attempts": self._attempts[name]} if calls is None else calls


def _name(work: Work) -> str:
    return f"{work.call.workflow}/{work.call.step}"


def _counted(source: Source | None, counts: Counter[str]) -> Source:
    async def counting(name: str, number: int, call_id: str | None, asked: str | None, execute: Execute) -> Any:
        counts[name.removeprefix("tool:")] += 1
        return await (execute() if source is None else source(name, number, call_id, asked, execute))

    return counting
