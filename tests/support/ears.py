"""A sink of deltas that keeps them, and what a client would make of them."""

import asyncio
from collections.abc import Iterable

from runtime.deltas.delta import Delta


class Ears:
    """Implements `runtime.deltas.delta.Sink`. `listening` decides whether anybody follows."""

    def __init__(self, *, listening: bool = True) -> None:
        self.listening = listening
        self.deltas: list[Delta] = []
        self._changed = asyncio.Event()

    def followed(self, run_id: str) -> bool:
        return self.listening

    def publish(self, delta: Delta) -> None:
        self.deltas.append(delta)
        self._changed.set()

    async def heard(self, text: str) -> None:
        """Wait until this has been said."""
        async with asyncio.timeout(20):
            while text not in self.text:
                self._changed.clear()
                await self._changed.wait()

    @property
    def text(self) -> str:
        return text_of(self.deltas)

    @property
    def marks(self) -> list[str]:
        """Why texts were dropped."""
        return [delta.dropped for delta in self.deltas if delta.dropped is not None]


def text_of(deltas: Iterable[Delta]) -> str:
    """What a client shows of one step in the end. Raises AssertionError when pieces are missing."""
    text = ""
    for delta in deltas:
        if delta.dropped is not None:
            text = ""
        elif not delta.ended:
            text = "" if delta.offset == 0 else text
            assert len(text) == delta.offset, f"there is a gap before {delta.offset}"
            text += delta.text
    return text
