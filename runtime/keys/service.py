"""Provider keys as people keep them: set, seen by their ends, tested, deleted. A key comes in and never goes out."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import structlog
from pydantic import SecretStr

from runtime.agents.credentials import ADDRESSED, OPERATOR
from runtime.clock import Clock, SystemClock, rfc3339
from runtime.errors import NotFound, Overloaded, Problem, RequestInvalid, SecretUnreadable
from runtime.ids import uuid7
from runtime.keys.base_urls import BaseUrls
from runtime.keys.pair import Pair
from runtime.keys.probe import Probed, Verdict, probe
from runtime.keys.providers import PROVIDERS
from runtime.limit_settings import NO_LIMITS, ProviderLimits
from runtime.secrets import SecretBox
from runtime.steps.outbound import Outbound
from runtime.store.key_protocol import ProviderKeyRow
from runtime.store.key_protocol import ProviderKeys as KeyStore

MIN_KEY, MAX_KEY = 8, 4096
"""Characters of a key."""
MAX_TESTS = 8
"""At once, in one process."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyView:
    """A provider key as it may be seen. `pair` is None when the present SECRET_KEY does not open it."""

    row: ProviderKeyRow
    pair: Pair | None

    @property
    def base_url(self) -> str | None:
        """Where the key is sent."""
        return None if self.pair is None else self.pair.base_url or PROVIDERS[self.row.provider].base_url

    def document(self) -> dict[str, Any]:
        """Never the key."""
        return {
            "provider": self.row.provider,
            "base_url": self.base_url,
            "has_key": None if self.pair is None else self.pair.key is not None,
            "last_four": None if self.pair is None else self.pair.last_four,
            "fingerprint": None if self.pair is None else self.pair.fingerprint,
            "readable": self.pair is not None,
            "limits": None if self.pair is None else self.pair.limits.model_dump(),
            "created_at": rfc3339(self.row.created_at),
            "updated_at": rfc3339(self.row.updated_at),
        }


class ProviderKeys:
    """Every method takes the tenant from whoever authenticated the caller; `by` is the caller's name, for the log."""

    def __init__(
        self, store: KeyStore, box: SecretBox, urls: BaseUrls, *, clock: Clock | None = None, way_out: Callable[[], httpx2.AsyncBaseTransport] | None = None
    ) -> None:
        self._store = store
        self._box = box
        self._urls = urls
        self._clock = clock or SystemClock()
        self._way_out = way_out or (lambda: Outbound(urls.allow))
        self._tests = 0

    async def keys(self, tenant: str) -> list[KeyView]:
        """All of them, by provider."""
        return [self._view(row) for row in await self._store.keys(tenant)]

    async def key(self, tenant: str, provider: str) -> KeyView:
        """Raises NotFound, also for an unknown provider and for what is another tenant's."""
        return self._view(await self._row(tenant, provider))

    async def put(self, tenant: str, provider: str, key: SecretStr | None, base_url: str | None, *, by: str) -> KeyView:
        """Set key and address together; what was there before is gone, but for limits. Raises NotFound for an unknown provider, RequestInvalid."""
        if provider not in OPERATOR:
            raise NotFound(f"there is no provider {provider[:40]!a}; known: {', '.join(sorted(OPERATOR))}")
        self._check(provider, key, base_url)
        if key is None:
            await self._check_keyless(tenant, provider)
        before = await self._store.key(tenant, provider)
        known = None if before is None else self._view(before).pair
        # Another key of the same account has the same limits, as a rule.
        pair = Pair(key, base_url, NO_LIMITS if known is None else known.limits)
        view = await self._stored(tenant, provider, pair)
        log.info("provider_key_set", tenant=tenant, provider=provider, base_url=view.base_url, fingerprint=pair.fingerprint, by=by)
        return view

    async def limit(self, tenant: str, provider: str, limits: ProviderLimits, *, by: str) -> KeyView:
        """Set the limits of a stored key, and leave the rest as it is. Raises NotFound, SecretUnreadable."""
        pair = replace(Pair.of(await self._row(tenant, provider), self._box), limits=limits)
        view = await self._stored(tenant, provider, pair)
        log.info("provider_key_limited", tenant=tenant, provider=provider, by=by, **limits.model_dump())
        return view

    async def remove(self, tenant: str, provider: str, *, by: str) -> None:
        """Delete it; the operator's own key is used again if there is one. Raises NotFound."""
        if provider not in OPERATOR or not await self._store.remove(tenant, provider):
            raise _missing(provider)
        log.info("provider_key_deleted", tenant=tenant, provider=provider, by=by)

    async def test(self, tenant: str, provider: str, *, by: str) -> Probed:
        """Send one small request with the stored key. Raises NotFound, SecretUnreadable, Overloaded."""
        row = await self._row(tenant, provider)
        pair = Pair.of(row, self._box)
        if self._tests >= MAX_TESTS:
            raise Overloaded(f"{MAX_TESTS} keys are being tested already", retry_after=1)
        self._tests += 1
        try:
            tested = await self._tested(KeyView(row, pair), pair)
        finally:
            self._tests -= 1
        log.info("provider_key_tested", tenant=tenant, provider=provider, verdict=tested.verdict.value, status=tested.status, by=by)
        return tested

    async def _stored(self, tenant: str, provider: str, pair: Pair) -> KeyView:
        now = self._clock.now()
        row = ProviderKeyRow(uuid7(now), tenant, provider, "", now, now)
        return KeyView(await self._store.put(replace(row, envelope=pair.sealed(self._box, row))), pair)

    async def _tested(self, view: KeyView, pair: Pair) -> Probed:
        wrong = "the key has no base URL" if view.base_url is None else self._urls.problem(view.base_url)
        if wrong is not None or view.base_url is None:
            return Probed(Verdict.NOT_ALLOWED, str(wrong))
        transport = await asyncio.to_thread(self._way_out)  # a TLS context costs 20 ms
        try:
            return await probe(view.row.provider, view.base_url, pair, transport)
        finally:
            await transport.aclose()

    async def _row(self, tenant: str, provider: str) -> ProviderKeyRow:
        row = await self._store.key(tenant, provider) if provider in OPERATOR else None
        if row is None:
            raise _missing(provider)
        return row

    def _view(self, row: ProviderKeyRow) -> KeyView:
        try:
            return KeyView(row, Pair.of(row, self._box))
        except SecretUnreadable as error:
            log.warning("provider_key_unreadable", tenant=row.tenant, provider=row.provider, reason=str(error))
            return KeyView(row, None)

    def _check(self, provider: str, key: SecretStr | None, base_url: str | None) -> None:
        problems = []
        text = None if key is None else key.get_secret_value()
        if text is not None and not (MIN_KEY <= len(text) <= MAX_KEY and all("!" <= character <= "~" for character in text)):
            problems.append(Problem("/key", f"a key has {MIN_KEY} to {MAX_KEY} visible ASCII characters and no spaces"))
        if base_url is not None and (wrong := self._urls.problem(base_url)) is not None:
            problems.append(Problem("/base_url", wrong))
        if base_url is None and provider in ADDRESSED:
            problems.append(Problem("/base_url", f"{provider} has no address of its own: give the one the key is for"))
        if base_url is None and key is None:
            problems.append(Problem("/key", "give a key, or the base URL of a server that needs none"))
        if problems:
            raise RequestInvalid(f"the provider key cannot be stored: {problems[0].detail}", problems=problems)

    async def _check_keyless(self, tenant: str, provider: str) -> None:
        """An address alone would send the stored key elsewhere, or silently lose it."""
        row = await self._store.key(tenant, provider)
        if row is not None and ((view := self._view(row)).pair is None or view.pair.key is not None):
            text = "a stored key belongs to its base URL: give the key again to change it, or delete it first"
            raise RequestInvalid(f"the provider key cannot be stored: {text}", problems=[Problem("/key", text)])


def _missing(provider: str) -> NotFound:
    return NotFound(f"there is no key for provider {provider[:40]!a}")
