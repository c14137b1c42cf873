"""A stage: what steps meet in place of the world outside, in tests and replays."""

from typing import Any, Protocol

from runtime.agents.context import AgentContext
from runtime.steps.context import Work
from runtime.steps.outcome import Outcome


class StepKindRunner(Protocol):
    """One kind of step: from the rendered mapping to an outcome."""

    async def run(self, spec: dict[str, Any], work: Work) -> Outcome: ...

    async def close(self) -> None: ...


class Stage(Protocol):
    """Stands in for the world outside. Asked once for each attempt of each step or item that leaves the engine."""

    async def answer(self, kind: str, spec: dict[str, Any], work: Work) -> Outcome | None:
        """What this attempt gives; None when it is to be carried out. Raises StepFailed with how it failed."""
        ...

    def context(self, context: AgentContext, spec: dict[str, Any], work: Work) -> AgentContext:
        """What an agent is given to work with, once `answer` has left it to be carried out."""
        ...


class Staged:
    """A kind of step on a stage."""

    def __init__(self, name: str, kind: StepKindRunner, stage: Stage) -> None:
        self._name, self._kind, self._stage = name, kind, stage

    async def run(self, spec: dict[str, Any], work: Work) -> Outcome:
        """What the stage answers, or else what the step itself does. Raises what either raises."""
        outcome = await self._stage.answer(self._name, spec, work)
        return await self._kind.run(spec, work) if outcome is None else outcome

    async def close(self) -> None:
        await self._kind.close()
