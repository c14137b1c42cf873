"""The key a model call is made with: the tenant's own when it has stored one, else the operator's."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from runtime.agents.credentials import Credential, Credentials
from runtime.errors import SecretUnreadable, StepFailed
from runtime.keys.base_urls import BaseUrls
from runtime.keys.pair import Pair
from runtime.lru import Lru
from runtime.secrets import SecretBox
from runtime.store.key_protocol import ProviderKeyRow

KEEP_SECONDS = 60.0
"""How long a key is used that nobody could say anything new about."""
MAX_KEPT = 10_000

Find = Callable[[str, str], Awaitable[ProviderKeyRow | None]]
"""From tenant and provider to what is stored, still in its envelope. Raises StepFailed when nobody can be asked."""

log = structlog.get_logger(__name__)


class StoredCredentials:
    """Implements `Credentials` in the process that makes the calls, and opens envelopes there.

    What was found is kept for `keep` seconds at most and dropped as soon as `heard` says that some key has changed. A stored key that
    cannot be used is an error, never a reason to take the operator's: that one is paid by somebody else.
    """

    def __init__(
        self,
        find: Find,
        box: Callable[[], SecretBox],
        otherwise: Credentials,
        urls: BaseUrls,
        *,
        keep: float = KEEP_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`box` is called when there is first something to open: a process without stored keys needs none."""
        self._find, self._open_box, self._otherwise, self._urls = find, box, otherwise, urls
        self._keep, self._monotonic = keep, monotonic
        self._box: SecretBox | None = None
        self._kept: Lru[tuple[str, str], tuple[Credential | None, float]] = Lru(MAX_KEPT)
        self._asked: dict[tuple[str, str], asyncio.Task[Credential | None]] = {}
        self._version = ""
        self._changes = 0

    async def of(self, tenant: str, provider: str) -> Credential:
        """The credential for this call.

        Raises StepFailed: `provider_not_configured` and `outbound_refused`, never retryable; `provider_key_unreadable`, `keys_unavailable`
        and `provider_unavailable`, which may pass.
        """
        place = (tenant, provider)
        kept, until = self._kept.get(place) or (None, 0.0)
        stored = kept if until > self._monotonic() else await self._ask(place)
        return await self._otherwise.of(tenant, provider) if stored is None else stored

    def doubt(self, tenant: str, provider: str) -> None:
        """Look anew."""
        self._kept.pop((tenant, provider))

    def heard(self, version: str) -> None:
        """This is the version of all stored keys (`ProviderKeys.version`): with another one than before, nothing kept is believed."""
        if version != self._version:
            self._version = version
            self._changes += 1
            self._kept = Lru(MAX_KEPT)
            self._asked.clear()  # whoever waits for an answer gets it, whoever comes now asks anew

    async def _ask(self, place: tuple[str, str]) -> Credential | None:
        """Many calls that begin at once ask once. One of them that is canceled leaves the others their answer."""
        task = self._asked.get(place)
        if task is None:
            task = self._asked[place] = asyncio.create_task(self._look_up(place))
            task.add_done_callback(partial(self._answered, place))
        return await asyncio.shield(task)

    def _answered(self, place: tuple[str, str], task: asyncio.Task[Credential | None]) -> None:
        if self._asked.get(place) is task:
            del self._asked[place]
        if not task.cancelled():
            task.exception()  # whoever waits has it; when nobody waits any more it is of no interest

    async def _look_up(self, place: tuple[str, str]) -> Credential | None:
        while True:
            changes = self._changes
            row = await self._find(*place)
            found = None if row is None else await self._opened(row)
            if changes == self._changes:  # else it may be what was there before the change
                break
        if self._keep > 0:
            self._kept.put(place, (found, self._monotonic() + self._keep))
        return found

    async def _opened(self, row: ProviderKeyRow) -> Credential:
        try:
            if self._box is None:
                self._box = self._open_box()
            pair = Pair.of(row, self._box)
        except SecretUnreadable as error:
            log.warning("provider_key_unreadable", tenant=row.tenant, provider=row.provider, reason=str(error))
            raise StepFailed("provider_key_unreadable", f"the stored key for {row.provider} cannot be opened: {error}") from None
        if pair.base_url is not None:
            await self._urls.check(pair.base_url)
        return Credential(row.provider, pair.key, pair.base_url, limits=pair.limits)
