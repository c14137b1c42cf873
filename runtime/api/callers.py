"""Who is calling: API keys and stream tickets, checked against the catalog."""

from dataclasses import dataclass

from runtime.api.keys import ADMIN, READ, WRITE, issue, verify
from runtime.clock import Clock, SystemClock
from runtime.errors import Forbidden, Unauthorized
from runtime.lru import Lru
from runtime.store.catalog_protocol import Catalog
from runtime.tokens import KEY, TICKET, Key, parse

CACHE_SECONDS = 2.0
"""How long another process may still accept a key after it was revoked here."""
CACHED = 1000
TICKET_MS = 60_000

_INCLUDED = {READ: (READ, WRITE, ADMIN), WRITE: (WRITE, ADMIN), ADMIN: (ADMIN,)}


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client. `name` is the key's name: what decisions and cancels are signed with."""

    tenant: str
    key_id: str
    name: str
    scopes: tuple[str, ...]
    expires_at: int | None = None

    def check(self, scope: str, *, run_id: str | None = None) -> None:
        """Raises Forbidden unless the key has `scope`, or is a ticket for the stream of this run."""
        allowed = any(each in self.scopes for each in _INCLUDED[scope])
        if not allowed and not (run_id is not None and _stream(run_id) in self.scopes):
            raise Forbidden(f"this needs an API key with the scope {scope}")


class Callers:
    """Turns credentials into callers. Successful look-ups are remembered for two seconds, failures never."""

    def __init__(self, catalog: Catalog, clock: Clock | None = None) -> None:
        self._catalog = catalog
        self._clock = clock or SystemClock()
        self._known: Lru[bytes, tuple[Caller, float]] = Lru(CACHED)

    async def by_key(self, text: str) -> Caller:
        """The caller this API key belongs to. Raises Unauthorized, in the same words whatever is wrong."""
        key = parse(text)
        if key is None or key.prefix != KEY:
            raise _unauthorized()
        known = self._known.get(key.digest)
        if known is not None and known[1] > self._clock.monotonic() and (known[0].expires_at or self._clock.now() + 1) > self._clock.now():
            return known[0]
        caller = await self._look_up(key)
        self._known.put(key.digest, (caller, self._clock.monotonic() + CACHE_SECONDS))
        return caller

    async def by_ticket(self, text: str, run_id: str) -> Caller:
        """The caller of one stream; the ticket is used up. Raises Unauthorized: unknown, used, expired, or of another run."""
        key = parse(text)
        if key is None or key.prefix != TICKET:
            raise _unauthorized()
        caller = await self._look_up(key)
        if _stream(run_id) not in caller.scopes or not await self._catalog.revoke_key(caller.tenant, key.key_id, self._clock.now()):
            raise _unauthorized()
        return caller

    async def ticket(self, caller: Caller, run_id: str) -> tuple[str, int]:
        """A ticket for the events of one run, valid once and for 60 s, and when (ms) it expires."""
        now = self._clock.now()
        key, _ = await issue(self._catalog, caller.tenant, name=caller.name, scopes=(_stream(run_id),), now=now, expires_at=now + TICKET_MS, prefix=TICKET)
        return key.text, now + TICKET_MS

    def forget(self, key_id: str) -> None:
        """A key was revoked: this process stops accepting it at once."""
        self._known.drop(lambda known: known[0].key_id == key_id)

    async def _look_up(self, key: Key) -> Caller:
        row = await self._catalog.key(key.key_id)
        if not verify(key, row, self._clock.now()) or row is None:
            raise _unauthorized()
        return Caller(row.tenant, row.key_id, row.name, row.scopes, row.expires_at)


def _stream(run_id: str) -> str:
    return f"events:{run_id}"


def is_ticket(scopes: tuple[str, ...]) -> bool:
    """Whether a stored key is a stream ticket, which lists of keys leave out."""
    return any(scope.startswith("events:") for scope in scopes)


def _unauthorized() -> Unauthorized:
    return Unauthorized("send a valid API key as 'Authorization: Bearer ak_…'")
