"""Which address a tenant may send a key to: one that outbound requests may reach, and encrypted unless the operator lists it."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import httpcore2
import httpx2

from runtime.errors import StepFailed
from runtime.steps.addresses import Address, AllowList
from runtime.steps.outbound import Resolver, refused, system_addresses

MAX_URL = 500
"""Characters."""


@dataclass
class BaseUrls:
    """`entries` are the setting `outbound_allow`; a wrong one raises ValueError when it is first needed."""

    entries: Sequence[str]
    resolve: Resolver = field(default=system_addresses)

    @cached_property
    def allow(self) -> AllowList:
        """What may be reached although it is not public."""
        return AllowList.parse(self.entries)

    def problem(self, text: str) -> str | None:
        """What is wrong with this address, as far as it can be told without asking a name server; None when nothing is."""
        try:
            url = httpx2.URL(text)
        except (httpx2.InvalidURL, ValueError, UnicodeError):
            return "this is not a URL"
        if len(text) > MAX_URL or not text.isascii() or any(character <= " " for character in text):
            return f"a base URL has at most {MAX_URL} characters, all of them ASCII and none of them a space"
        if url.scheme not in ("http", "https") or not url.host:
            return "it must begin with https:// and name a host"
        if url.userinfo or url.query or url.fragment or "?" in text or "#" in text:
            return "a base URL has no credentials, no query and no fragment"
        if url.port is not None and not 0 < url.port < 65536:
            return "a port is between 1 and 65535"
        return self._refused(url)

    async def check(self, text: str) -> None:
        """Raise StepFailed `outbound_refused` unless every address of its host may be reached, `provider_unavailable` when it has none."""
        if (wrong := self.problem(text)) is not None:
            raise StepFailed("outbound_refused", f"the key's base URL may not be used: {wrong}", retryable=False)
        host, port = _place(httpx2.URL(text))
        try:
            addresses = await self.resolve(host, port)
        except httpcore2.ConnectError as error:
            raise StepFailed("provider_unavailable", f"{host} cannot be resolved") from error
        if not all(self.allow.allows(host, port, address) for address in addresses):
            raise refused(host, port)

    def _refused(self, url: httpx2.URL) -> str | None:
        host, port = _place(url)
        address = _literal(host)
        if url.scheme == "http" and not self.allow.lists(host, port):
            return "it must begin with https://, unless the operator lists the host (AGENTIC_OUTBOUND_ALLOW)"
        if address is not None and not self.allow.allows(host, port, address):
            return f"{host}:{port} is not a public address on port 443, and not on the operator's list"
        return None


def _place(url: httpx2.URL) -> tuple[str, int]:
    return url.host, url.port or (443 if url.scheme == "https" else 80)


def _literal(host: str) -> Address | None:
    """The address a host is written as; None for a name, also for the odd spellings that only a resolver takes for addresses."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
