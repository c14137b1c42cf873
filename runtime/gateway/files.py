"""Artifacts of runs: named files, and the large values the journal refers to."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from runtime.engine.events import Kind
from runtime.engine.state import RunState
from runtime.errors import ArtifactMissing, NotFound
from runtime.gateway.reads import Reads
from runtime.references import REFERENCE
from runtime.store.catalog_protocol import ArtifactRow
from runtime.values import is_reference, load

PAGE = 500
OFFERS = "tools"
"""The call of an agent step that is answered with the tools there are: all others are answered with what others have written."""
_STORED = {Kind.STEP_ITERATED: "output", Kind.SIGNAL_RECEIVED: "payload", Kind.APPROVAL_RESOLVED: "form", Kind.CALL_FINISHED: "result"}
INLINE_BYTES = 2**20
"""Larger values stay references in answers; `value` streams them."""


class Files(Reads):
    """What was written along the way."""

    async def artifact_list(self, tenant: str, run_id: str, *, after: str | None = None, limit: int = 50) -> list[ArtifactRow]:
        """A page of the run's named artifacts, by name. Raises NotFound."""
        await self.run(tenant, run_id)
        return await self.catalog.artifacts(run_id, after=after, limit=limit)

    async def artifact(self, tenant: str, run_id: str, name: str) -> ArtifactRow:
        """One named artifact. Raises NotFound."""
        await self.run(tenant, run_id)
        row = await self.catalog.artifact(run_id, name) if name.isprintable() else None
        if row is None:
            raise NotFound(f"the run has no artifact {name[:100]!a}", run_id=run_id)
        return row

    async def present(self, digest: str) -> None:
        """Raises ArtifactMissing unless the content can be read: an answer that has begun cannot say so any more."""
        if await self.artifacts.size(digest) is None:
            raise ArtifactMissing(f"the content {digest} is gone")

    def content(self, digest: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive) of what `artifact` or `value` has allowed. Raises ArtifactMissing."""
        return self.artifacts.stream(digest, start=start, end=end)

    async def value(self, tenant: str, run_id: str, digest: str) -> int:
        """The size of a large JSON value this run refers to. Raises NotFound when it does not, whoever else may own that content."""
        state = await self.state(tenant, run_id)
        for reference in _references(state):
            if reference["sha256"] == digest:
                return int(reference["size"])
        async for reference in self._told(run_id):
            if reference["sha256"] == digest:
                return int(reference["size"])
        raise NotFound("the run has no such value", run_id=run_id)

    async def _told(self, run_id: str) -> AsyncIterator[dict[str, Any]]:
        """Every reference of the journal that the state has forgotten, where only the engine or the gateway writes one."""
        after = 0
        while page := await self.journal.events(run_id, after, PAGE):
            for event in page:
                body = event.body or {}
                value = body.get(_STORED.get(event.kind, ""))
                if is_reference(value) and (event.kind is not Kind.CALL_FINISHED or body["name"] == OFFERS):
                    yield value[REFERENCE]
            after = page[-1].seq

    async def shown(self, value: Any) -> Any:
        """`value` as an answer shows it: a reference is replaced by what it stands for, unless that is large. Raises ArtifactMissing."""
        if is_reference(value) and value[REFERENCE]["size"] <= INLINE_BYTES:
            return await load(value, self.artifacts)
        return value


def _references(state: RunState) -> Iterator[dict[str, Any]]:
    """Every reference the state holds: alone, or as an element of a map's outputs or an object's values."""
    values = [state.inputs, state.output]
    for step in state.steps.values():
        values += [step.output, step.messages]
        if step.items is not None:
            values.extend(step.items.outputs)
    for value in values:
        parts = value if isinstance(value, list) else value.values() if isinstance(value, dict) and not is_reference(value) else (value,)
        yield from (part[REFERENCE] for part in parts if is_reference(part))
