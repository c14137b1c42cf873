"""What the processes that ask models and the one that limits them say to each other: plain data, which crosses processes."""

from dataclasses import dataclass

from runtime.limit_settings import ProviderLimits
from runtime.limits.gate import Learned
from runtime.limits.seen import Seen


@dataclass(frozen=True, slots=True)
class Key:
    """One provider key. Whoever has the same key at the same address shares its limits; keys of different tenants are never the same."""

    tenant: str
    """Empty for the operator's, which all tenants share."""
    provider: str
    account: str
    """Stands for the key and its base URL, and tells neither."""


Where = tuple[Key, str]
"""A key and a model."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a request goes: a model, asked with a key. What is configured holds for the key, what a provider says for one model of it."""

    key: Key
    model: str
    limits: ProviderLimits
    """Those of the key, by settings and by what is stored beside it."""

    @property
    def where(self) -> Where:
        """Without the limits."""
        return self.key, self.model


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that wants to go out. `number` is unique within its holder."""

    number: int
    spot: Spot
    run: str
    """Runs are served in turns."""
    tokens: int
    """What it will take, about."""


@dataclass(frozen=True, slots=True)
class News:
    """How a request ended. Times are seconds."""

    spot: Spot
    number: int | None = None
    """Of its permit; None when it went out without one, because nothing was known to limit it."""
    more_tokens: int = 0
    """How many more it took than was said before; negative when fewer."""
    seen: Seen | None = None
    refused: bool = False
    """Whether the provider said that there were too many."""
    pause: float | None = None
    """How long the provider wants not to be asked."""
    age: float = 0.0
    """Since it was sent."""
    pace: float = 0.0
    """Answers a minute that its process got here, of late."""


@dataclass(frozen=True, slots=True)
class Place:
    """What was learned about one spot."""

    key: Key
    model: str
    learned: Learned


@dataclass(frozen=True, slots=True)
class Batch:
    """What one process says. `full`: this is everything it knows, and whatever it said before is void."""

    holder: str
    serial: int
    asks: tuple[Ask, ...] = ()
    withdrawn: tuple[int, ...] = ()
    news: tuple[News, ...] = ()
    full: bool = False
    held: tuple[Ask, ...] = ()
    """Requests that are out; with `full` only."""
    places: tuple[Place, ...] = ()
    """With `full` only."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`granted`: numbers of asks that may go out now. `places`: what is known by now about the spots the process has spoken of."""

    granted: tuple[int, ...] = ()
    places: tuple[Place, ...] = ()
    again: bool = False
    """Say everything once more: whoever answers has not heard the beginning."""
