"""The values a batch of calls works on: large ones brought in from the artifact store, templates rendered as seldom as possible."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from runtime.artifacts.protocol import ArtifactStore
from runtime.definition.render import CompiledSpec, spec_for
from runtime.references import REFERENCE, holds_reference, is_reference
from runtime.steps.protocol import Item, StepCall
from runtime.values import load

CACHE_BYTES = 64 * 2**20
"""Memory for stored JSON that is kept parsed."""
PARSED = 4
"""Bytes of memory for each byte of JSON, about: text takes one, numbers three, small objects twenty."""


class LoadedValues:
    """Large values by hash, the most recently used ones kept: every batch of a map asks for the same."""

    def __init__(self, store: ArtifactStore, budget: int = CACHE_BYTES) -> None:
        self._store = store
        self._budget = budget
        self._kept: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._size = 0

    async def scope(self, scope: Mapping[str, Any]) -> Mapping[str, Any]:
        """`scope` with its references replaced by what they stand for. Raises ArtifactMissing, StoreUnavailable."""
        if not any(holds_reference(value) for value in scope.values()):
            return scope
        return {name: await self._loaded(value) for name, value in scope.items()}

    async def _loaded(self, value: Any) -> Any:
        if is_reference(value):
            return await self._one(value)
        if holds_reference(value):
            return [await self._one(part) if is_reference(part) else part for part in value]
        return value

    async def _one(self, reference: dict[str, dict[str, Any]]) -> Any:
        digest, size = reference[REFERENCE]["sha256"], reference[REFERENCE]["size"]
        if digest in self._kept:
            self._kept.move_to_end(digest)
            return self._kept[digest][0]
        value = await load(reference, self._store)
        if digest not in self._kept:  # another batch may have brought it meanwhile
            self._kept[digest] = (value, size * PARSED)
            self._size += size * PARSED
            while self._size > self._budget and len(self._kept) > 1:  # the one that is in use stays, or every batch of its map would bring it again
                self._size -= self._kept.popitem(last=False)[1][1]
        return value


class Batch:
    """One StepCall: its templates are compiled once per process and rendered once, or once per item when they use the item."""

    def __init__(self, call: StepCall, loaded: LoadedValues) -> None:
        self.call = call
        self.logged: set[type[BaseException]] = set()
        """Types of exceptions whose stack is in the log already."""
        self._loaded = loaded
        self._lock = asyncio.Lock()
        self._compiled: CompiledSpec | None = None
        self._scope: Mapping[str, Any] = {}
        self._shared: dict[str, Any] | None = None
        self._failed: Exception | None = None

    async def prepare(self) -> None:
        """Compile, load, and render what all items share. What fails here fails every item of the batch."""
        if self._compiled is not None:
            return
        async with self._lock:
            if self._failed:
                raise self._failed
            try:
                if self._compiled is None:
                    await self._prepare()
            except Exception as error:
                self._failed = error
                raise

    async def _prepare(self) -> None:
        call = self.call
        compiled = spec_for(call.definition, call.step, call.kind, call.spec)
        self._scope = await self._loaded.scope(call.scope)
        if not compiled.each:
            self._shared = compiled.render(self._scope)
        self._compiled = compiled

    def render(self, item: Item | None) -> dict[str, Any]:
        """The rendered mapping of the step's kind. Raises ExpressionFailed. Shared between items: read it, do not change it."""
        if self._shared is not None:
            return self._shared
        if self._compiled is None:
            raise RuntimeError("render before prepare")
        local = {} if item is None else {"item": item.value, "index": item.index}
        return self._compiled.render({**self._scope, **local})
