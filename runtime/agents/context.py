"""What an agent step is given to work with, and what it gives back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from runtime.agents.asking import Layer
from runtime.agents.attachments import Load
from runtime.deltas.voice import Speaker
from runtime.tracing.attempts import AttemptSpan

if TYPE_CHECKING:
    from runtime.agents.providers import Providers
    from runtime.agents.tools import Tool

Record = Callable[[dict[str, Any]], Awaitable[None]]
"""Keeps the body of one finished call in the run's journal; returns when it is durable."""

Execute = Callable[[], Awaitable[Any]]
"""Makes one call and gives its JSON."""
Source = Callable[[str, int, str | None, str | None, Execute], Awaitable[Any]]
"""Gives the JSON of a call: its name, its number from 1, what the model calls it, the hash of what is asked (`runtime.agents.asked`), and how it
would be made. Raises StepFailed."""

Observe = Callable[[str, str, float], None]
"""Told of every model call that went out: provider, `success` or the error's code, seconds."""


@dataclass(frozen=True, slots=True)
class Callee:
    """A function a tool name stands for."""

    function: Callable[..., Any]
    """The function as its author wrote it; its signature and docstring become the tool's description."""
    invoke: Callable[[dict[str, Any]], Awaitable[Any]]
    """Calls it with these keyword arguments, in the right place (event loop or thread) and with its `context` when it wants one."""


class Toolsets(Protocol):
    """Tools that are no functions of this process: other workflows, operations of HTTP APIs, tools of MCP servers."""

    async def offers(self, entries: Sequence[dict[str, Any]]) -> Any:
        """JSON that stands for what these entries of an agent's `tools` offer at present. It is journalled, and must be small. Raises StepFailed."""
        ...

    async def load(self, kept: Any) -> list[dict[str, Any]]:
        """The offers `kept` stands for, without asking anybody again; `entry` of each is the position of its entry. Raises ArtifactMissing."""
        ...

    def tool(self, offer: dict[str, Any]) -> "Tool":
        """The tool an offer describes. Calling it raises ToolRefused with what the model is told, or StepFailed, which ends the attempt."""
        ...


@dataclass(frozen=True, slots=True)
class AgentContext:
    """The surroundings of one attempt of one agent step, or of one item of its map."""

    providers: "Providers"
    resolve: Callable[[str], Callee]
    """From `module:function` to the function, or StepFailed when it may not be called."""
    tenant: str = "default"
    """Whose keys the models are asked with."""
    timeout: float | None = None
    """Seconds one model request may take; the provider's default when None."""
    replay: Sequence[dict[str, Any]] = ()
    """Bodies of the `call.finished` events this step (this item) already has, in their order."""
    record: Record | None = None
    """None journals nothing."""
    hold: bool = False
    """Whether whoever takes the outcome journals its `calls` with it."""
    observe: Observe | None = None
    speaker: Speaker | None = None
    """Where the text of model calls is heard while it comes. None: nowhere."""
    layers: Sequence[Layer] = ()
    """What each request to a model passes on its way out, outermost first."""
    span: AttemptSpan | None = None
    """Of an attempt that is traced."""
    toolsets: Toolsets | None = None
    """None: only functions are tools."""
    history: Sequence[dict[str, Any]] = ()
    """What was said before in the conversation the step takes part in; `agent.history` brings its own."""
    artifacts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    """The artifacts the step may be shown, `{name, sha256, size, media_type}`, by hash."""
    load: Load | None = None
    """Reads an artifact. None: there are none."""
    keep_messages: bool = False
    """Whether the outcome is to tell what was said."""
    source: Source | None = None
    """Gives the results of calls in place of making them, in tests and replays."""
    scripted: bool = False
    """Whether the models of a simulated step have a script, so that the loop is that of a live one."""
    seed: int = 0
    """Varies the answers of the simulated model; the same seed always gives the same answers."""


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """The answer. `output` is JSON that satisfies the agent's schema, or text when it has none.

    `usage` is `{calls, tool_calls, input_tokens, output_tokens, cost_usd}`, everything the answer took, calls taken from the journal included;
    `cost_usd` is None when the price of the model is not known. `model` is the one that gave the answer. Besides, `simulated: true` when no
    model was asked, and `replayed`: how many of the calls came from the journal, when any did. `messages` is what was said in this step,
    without what came before it (runtime.agents.messages), when the context asks for it. `asks` is what has to be answered before there can be
    an answer at all (runtime/engine/asks.py); nothing else but `usage` counts then. `calls` are bodies of finished calls that are not recorded
    yet, when the context allows that.
    """

    output: Any
    usage: dict[str, Any] = field(default_factory=dict)
    messages: list[dict[str, Any]] | None = None
    asks: tuple[dict[str, Any], ...] = ()
    calls: tuple[dict[str, Any], ...] = ()
