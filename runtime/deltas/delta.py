"""One piece of what a model says, and the ways there are to hand pieces in and to take them out."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from runtime.deltas.buffer import Buffer

Place = tuple[str, str, int | None]
"""Run, step key, index: at each place at most one call speaks at a time."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the text of one model call. With offset 0 a text begins anew, whatever came before at its place."""

    run_id: str
    step: str
    """The step's key: `poll#3` in a loop."""
    index: int | None
    """Position in the map, None outside of one."""
    attempt: int
    """The attempt that has made the call."""
    call: int
    """The number of the model call within the step, as in its `call.finished`."""
    offset: int
    """Where the piece stands in the call's text, in characters (code points) from 0."""
    text: str
    json: bool = False
    """Whether the text is JSON, an answer that is being written to a schema."""
    dropped: str | None = None
    """Why all that the call has said is void; such a delta has no text."""
    ended: bool = False
    """The call says no more. Nobody outside is told: the journal has the answer, or will say why there is none."""

    @property
    def place(self) -> Place:
        """Where it is said."""
        return self.run_id, self.step, self.index

    @property
    def says(self) -> bool:
        """Whether it is a piece of text, and not a mark."""
        return self.dropped is None and not self.ended

    def continues(self, call: tuple[int, int], end: int) -> bool:
        """Whether it goes on where the text of this (attempt, call) ends."""
        return self.says and (self.attempt, self.call) == call and self.offset == end


class Sink(Protocol):
    """Where deltas are handed in. Never blocks, never fails."""

    def followed(self, run_id: str) -> bool:
        """Whether anybody would hear a delta of this run."""
        ...

    def publish(self, delta: Delta) -> None:
        """Pass it to everybody who follows its run, and keep it for those who come while its call goes on."""
        ...


class Deltas(Protocol):
    """Where deltas are taken out."""

    def follow(self, run_id: str) -> "AbstractContextManager[Buffer]":
        """What is said in this run from now on, for one reader, after what the calls in flight have said so far as long as that is kept."""
        ...
