"""The streams under an MCP session, with a word when they end: the SDK tells only those who wait for an answer at that moment."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any


@asynccontextmanager
async def watched(transport: AbstractAsyncContextManager[Any], ended: Callable[[], None]) -> AsyncIterator[tuple[Any, Any]]:
    """The transport itself. `ended` is called when nothing more comes from the server: a program has gone, or a connection was given up."""
    async with transport as (reading, writing):
        yield _Watched(reading, ended), writing


class _Watched:
    """A stream as the SDK reads it."""

    def __init__(self, inner: Any, ended: Callable[[], None]) -> None:
        self._inner, self._ended = inner, ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except Exception:
            self._ended()
            raise

    async def __aenter__(self) -> "_Watched":
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *about: Any) -> Any:
        return await self._inner.__aexit__(*about)
