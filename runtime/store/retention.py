"""What the janitor and `agentic db prune` do to the database. Finding is done beside the writer; only deleting takes its place in it."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from runtime.store import cached_calls, candidates, conversations, ledger, sweeps
from runtime.store.candidates import Candidate, Rule
from runtime.store.database import Database
from runtime.store.operations import Work
from runtime.store.reader import Reader
from runtime.store.refs import referenced
from runtime.store.removal import Removed, clear_portion, remove_runs, weigh
from runtime.store.writer import Writer

T = TypeVar("T")


class SqlRetention:
    """Every method that deletes is one short transaction, and safe beside others that do the same. Raises StoreUnavailable."""

    def __init__(self, database: Database, writer: Writer, reader: Reader) -> None:
        self._database = database
        self._writer = writer
        self._reader = reader

    async def own_times(self) -> list[int]:
        """The different retentions (ms) that ended runs have by their definitions."""
        return await self._reader.read(candidates.own_times)

    async def find(self, rule: Rule, after: Candidate | None, limit: int) -> list[Candidate]:
        """A page of runs the rule lets go, oldest end first."""
        if after is None:
            return await self._reader.read(lambda connection: candidates.find(connection, rule, limit=limit))
        return await self._reader.read(lambda connection: candidates.find(connection, rule, after.place, limit))

    async def oldest(self, rules: list[Rule], limit: int) -> list[Candidate]:
        """The runs that ended longest ago of all that these rules let go."""
        return await self._reader.read(lambda connection: candidates.oldest(connection, rules, limit))

    async def weigh(self, run_ids: Sequence[str]) -> tuple[int, int]:
        """Events of these runs, and their bytes, about."""
        return await self._reader.read(lambda connection: weigh(connection, run_ids))

    async def remove(self, run_ids: Sequence[str]) -> Removed:
        """Remove those of these runs that no run needs. What they leave behind is cleared by `clear`."""
        return await self._write(lambda connection: remove_runs(connection, run_ids))

    async def clear(self) -> int:
        """Delete a portion of what removed runs have left; how many rows, 0 when nothing is left."""
        return await self._write(clear_portion)

    async def used_bytes(self) -> int:
        """What the database holds, about, without the room that deleted rows have left."""
        return await self._reader.read(self._database.used_bytes)

    async def expired_keys(self, now: int) -> int:
        """Delete a portion of idempotency keys that have expired; how many."""
        return await self._write(lambda connection: sweeps.expired_keys(connection, now))

    async def old_keys(self, *, keys: int, tickets: int) -> int:
        """Delete a portion of API keys that expired or were revoked before `keys`, and of tickets that expired before `tickets` (ms)."""
        found = await self._reader.read(lambda connection: sweeps.old_keys(connection, keys=keys, tickets=tickets))
        return await self._write(lambda connection: sweeps.delete_keys(connection, found)) if found else 0

    async def forgotten_workflows(self, before: int) -> int:
        """Delete some workflows that were deleted before `before` (ms) and have no run left; how many versions went."""
        found = await self._reader.read(lambda connection: sweeps.forgotten(connection, before))
        return sum([await self._forget(tenant, workflow, before) for tenant, workflow in found])

    async def _forget(self, tenant: str, workflow: str, before: int) -> int:
        return await self._write(lambda connection: sweeps.delete_workflow(connection, tenant, workflow, before))

    async def old_conversations(self, before: int) -> int:
        """Delete a portion of conversations in which nothing was said since `before` (ms); how many rows."""
        found = await self._reader.read(lambda connection: conversations.old(connection, before))
        return sum([await self._end(tenant, name, before) for tenant, name in found])

    async def _end(self, tenant: str, name: str, before: int) -> int:
        return await self._write(lambda connection: conversations.remove_some(connection, tenant, name, before))

    async def expired_answers(self, now: int) -> int:
        """Delete a portion of kept answers that have expired; how many."""
        return await self._write(lambda connection: cached_calls.expired(connection, now))

    async def surplus_answers(self, most: int) -> int:
        """Delete a portion of the oldest kept answers while all together have more than `most` bytes; how many."""
        total = await self._reader.read(cached_calls.total_bytes)
        return await self._write(cached_calls.oldest) if total > most else 0

    async def old_calls(self, before: int) -> int:
        """Delete a portion of the ledger's rows of calls before `before` (ms); how many."""
        return await self._write(lambda connection: ledger.forget(connection, before))

    async def referenced(self, digests: Collection[str]) -> set[str]:
        """Those of these contents that any run refers to."""
        return await self._reader.read(lambda connection: referenced(connection, digests)) if digests else set()

    async def vacuum(self) -> bool:
        """Give the room of deleted rows back to the disk; whoever writes waits meanwhile. False when the database has its own way."""
        return await self._database.run_writer(self._database.vacuum)

    async def _write(self, function: Callable[[Connection], T]) -> T:
        return await self._writer.write(Work(function))
