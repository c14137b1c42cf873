"""The seam between the host, which owns runs, and whatever carries steps out: a Ray actor pool, Ray tasks, or this process."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from runtime.money.purse import Payer


@dataclass(frozen=True, slots=True)
class Item:
    """One element of a map to work on."""

    index: int
    attempt: int
    value: Any


@dataclass(frozen=True, slots=True)
class StepCall:
    """One step to carry out, or a batch of items of one map. Plain JSON values only: it crosses process borders.

    The executor renders the step's templates itself (the owner's process stays lean): `scope` holds every name the step's
    templates use (`inputs.topic`, `steps.notes.output`, …) except `item` and `index`, which each Item brings.
    """

    run_id: str
    epoch: int
    workflow: str
    definition: str
    """Content hash of the definition; with `step` the key of the executor's cache of compiled templates."""
    step: str
    """The step's id in the definition."""
    kind: str
    spec: dict[str, Any]
    """The step as JSON (`Step.model_dump(mode="json", by_alias=True, exclude_unset=True)`)."""
    scope: dict[str, Any]
    attempt: int
    iteration: int | None = None
    items: tuple[Item, ...] | None = None
    """The batch, when the step is a map; None otherwise."""
    timeout_ms: int | None = None
    """Of one attempt of one item."""
    mode: str = "live"
    """`live` or `simulated`."""
    model: str | list[str] | None = None
    """The workflow's default model, or models in the order they are tried."""
    traceparent: str | None = None
    tenant: str = "default"
    calls: tuple[dict[str, Any], ...] = ()
    """Bodies of `call.finished` events this step already has: replayed, not paid again. And what was answered to calls that waited."""
    keep_messages: bool = False
    """Whether what an agent and its model say is to come back with the result."""
    history: tuple[dict[str, Any], ...] = ()
    """What was said before in the conversation an agent takes part in."""
    workflows: tuple[dict[str, Any], ...] = ()
    """The workflows its agent may call as tools, as they stand when the step goes out: `{workflow, wanted?, version, description, inputs}`."""
    payer: Payer | None = None
    """Whose money an agent's model calls are made with."""
    recovered: bool = False
    """Its owner has changed: it may be in flight since before, or just finished, and is joined then, wherever that is."""

    @property
    def step_key(self) -> str:
        """The step's path within the run: `poll#3` in a loop."""
        return self.step if self.iteration is None else f"{self.step}#{self.iteration}"

    @property
    def title(self) -> str:
        """What the Ray dashboard shows: `workflow/step`. Nothing that differs from run to run: Ray keeps a metric for every name there ever was."""
        return f"{self.workflow}/{self.step}"


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one attempt of one step or item ended. `output` is JSON, or a value reference when it is large.

    `error` is `{code, message, retryable, retry_after?, details?}`; exactly one of the two counts, by `error is None`.
    """

    run_id: str
    epoch: int
    step: str
    attempt: int
    iteration: int | None = None
    index: int | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    """Tokens and cost of the attempt, when there were any."""
    artifacts: tuple[dict[str, Any], ...] = ()
    """Named artifacts the attempt saved, `{name, digest, size, media_type, step}` each; the content is stored already, the host
    registers the names when it accepts the result."""
    messages: Any = None
    """What an agent and its model said, when the call asks for it: JSON, or a value reference when it is large."""
    asks: tuple[dict[str, Any], ...] = ()
    """What has to be answered before the attempt can go on (runtime/engine/asks.py); neither `output` nor `error` counts then."""
    calls: tuple[dict[str, Any], ...] = ()
    """Bodies of the last calls of an attempt that has an output. The host journals them with it."""

    @property
    def step_key(self) -> str:
        """As in `StepCall`."""
        return self.step if self.iteration is None else f"{self.step}#{self.iteration}"


class Executor(Protocol):
    """Carries steps out. Knows nothing of journals; may lose everything at any time, which the host then notices."""

    detached: ClassVar[bool] = False
    """Whether what is in flight outlives the process that asked for it, so that its next owner can join it. Never true of steps with `resources`."""

    def execute(self, calls: Sequence[StepCall]) -> AsyncIterator[list[StepResult]]:
        """Carry out calls; yield results in batches as they come, each (call, item) exactly once.

        An executor that dies yields `error.code = "executor_lost"` for what it had in flight.
        """
        ...

    async def cancel(self, run_id: str, step: str | None = None) -> None:
        """Stop what is in flight of this run, or of one of its steps. Idempotent; results of it are then discarded by the host."""
        ...
