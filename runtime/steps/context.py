"""What a step function and the kinds of steps are given to work with."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from runtime.agents.credentials import Credentials
from runtime.artifacts.protocol import ArtifactStore
from runtime.deltas.delta import Sink
from runtime.errors import StepFailed
from runtime.ids import idempotency_key
from runtime.limits.limiter import Limiter
from runtime.metrics import Spent
from runtime.money.purse import Purse
from runtime.settings import Settings
from runtime.steps.protocol import Item, StepCall
from runtime.store.cached_call_protocol import CallCache
from runtime.tracing.attempts import AttemptSpan, innermost
from runtime.tracing.ids import trace_id_of
from runtime.tracing.spans import Tracer

if TYPE_CHECKING:  # it speaks of `Work`
    from runtime.steps.stage import Stage

MAX_ARTIFACTS = 1_000
"""Named artifacts one attempt may save."""

RecordCall = Callable[[StepCall, int | None, dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StepServices:
    """What the process that carries steps out lends to them."""

    settings: Settings
    artifacts: ArtifactStore
    record: RecordCall | None = None
    """Keeps a finished model or tool call of an agent step (call, item index, body) in the run's journal; None keeps nothing."""
    observe: Callable[[str, str, float], None] | None = None
    """Told of every model call: provider, status, seconds."""
    credentials: Credentials | None = None
    """Where the keys of model calls come from; None knows the operator's alone."""
    deltas: Sink | None = None
    """Where the text of model calls goes while it comes; None: nowhere."""
    limiter: Limiter | None = None
    """Whom model calls ask for leave; None: nobody."""
    call_cache: CallCache | None = None
    """Where answers are kept for steps that want it; None keeps none."""
    stage: "Stage | None" = None
    """Stands in for the world outside, in tests and replays."""
    purse: Purse | None = None
    """Who says whether a model call may be made; None: every one may."""
    spend: Callable[[Spent], None] | None = None
    """Told of every answer of a model: what it has cost."""
    tracer: Tracer | None = None
    """None traces nothing."""


@dataclass(slots=True, eq=False)
class Work:
    """One attempt of one step or item, as its kind sees it."""

    call: StepCall
    item: Item | None
    clock: "Clock"
    saved: list[dict[str, Any]] = field(default_factory=list)
    """Named artifacts saved so far; they go into the result."""
    span: AttemptSpan | None = None
    """Of an attempt that is traced."""

    @property
    def attempt(self) -> int:
        return self.call.attempt if self.item is None else self.item.attempt

    @property
    def index(self) -> int | None:
        return None if self.item is None else self.item.index

    @property
    def seat(self) -> str:
        """The step or item within its run."""
        return self.call.step_key if self.item is None else f"{self.call.step_key}[{self.item.index}]"

    @property
    def traceparent(self) -> str | None:
        """What goes along with a request to the outside: the tool call under way, or the attempt, or, untraced, the run."""
        return innermost.get() or (self.call.traceparent if self.span is None else str(self.span.at))

    def facts(self) -> dict[str, Any]:
        """For logs."""
        call = self.call
        who = {"run_id": call.run_id, "step": call.step_key, "index": self.index, "attempt": self.attempt}
        return who | {"tenant": call.tenant, "trace_id": trace_id_of(call.traceparent)}

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts of this step (or item) of this run."""
        return idempotency_key(self.call.run_id, self.seat)


@dataclass(slots=True, eq=False)
class Clock:
    """The timeout of one attempt. A kind that first has to queue for a place stops it and starts it again from zero."""

    seconds: float | None
    expire: Callable[[], None]
    _handle: asyncio.TimerHandle | None = None
    _left: float | None = None
    """Seconds, while it stands still."""

    def start(self) -> None:
        """Count from now. Starting again counts anew."""
        self.stop()
        if self.seconds is not None:
            self._handle = asyncio.get_running_loop().call_later(self.seconds, self.expire)

    def pause(self) -> None:
        """Stand still until `resume`: what was left is left then."""
        if self._handle is not None:
            left = max(0.0, self._handle.when() - asyncio.get_running_loop().time())
            self.stop()
            self._left = left

    def resume(self) -> None:
        """Go on where `pause` has stopped."""
        if self._left is not None:
            self._handle = asyncio.get_running_loop().call_later(self._left, self.expire)
            self._left = None

    def stop(self) -> None:
        self._left = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


async def save(work: Work, store: ArtifactStore, limit: int, name: str, data: bytes | str, media_type: str) -> dict[str, Any]:
    """Store `data` and note it under `name` in the attempt's result. Returns `{name, sha256, size, media_type}`.

    The latest of several of one name counts. Raises StepFailed `artifact_invalid`, PayloadTooLarge, StoreUnavailable.
    """
    _check_name(name)
    if len(work.saved) >= MAX_ARTIFACTS:
        raise StepFailed("artifact_invalid", f"a step may save {MAX_ARTIFACTS} artifacts", retryable=False)
    digest, size = await store.put(data.encode() if isinstance(data, str) else data, limit=limit)
    work.saved.append({"name": name, "digest": digest, "size": size, "media_type": media_type, "step": work.call.step_key})
    return {"name": name, "sha256": digest, "size": size, "media_type": media_type}


def _check_name(name: str) -> None:
    # The name is a label shown to people and put into headers, never a path; the content lives under its hash.
    if not name or len(name.encode()) > 255 or not name.isprintable() or "/" in name or "\\" in name or name in (".", ".."):
        raise StepFailed("artifact_invalid", "an artifact's name is 1 to 255 printable characters without slashes", retryable=False)


class StepContext:
    """What a step function gets when it has a parameter named `context`.

    In an `async def` function `save_artifact` is awaited; in a plain function, which runs in a thread, it is simply called.
    """

    def __init__(self, work: Work, services: StepServices, thread_of: asyncio.AbstractEventLoop | None = None) -> None:
        self.run_id = work.call.run_id
        self.step = work.call.step_key
        self.index = work.index
        """Position in the map, None outside of one."""
        self.attempt = work.attempt
        self.idempotency_key = work.idempotency_key
        """Send it along with effects, so that a repeated attempt has its effect once."""
        self.traceparent = work.traceparent
        """Send it along with requests, so that what they bring about is part of the run's trace (W3C Trace Context)."""
        self.log = structlog.get_logger("step").bind(**work.facts())
        self._work = work
        self._services = services
        self._loop = thread_of

    def save_artifact(self, name: str, data: bytes | str, media_type: str = "application/octet-stream") -> Any:
        """Keep `data` as a named artifact of the run. Gives `{name, sha256, size, media_type}`; the same name again replaces it."""
        saving = self._save(name, data, media_type)
        return saving if self._loop is None else asyncio.run_coroutine_threadsafe(saving, self._loop).result()

    def _save(self, name: str, data: bytes | str, media_type: str) -> Coroutine[Any, Any, dict[str, Any]]:
        return save(self._work, self._services.artifacts, self._services.settings.max_output_bytes, name, data, media_type)
