"""How an AgentActor, which never opens the database, comes to the keys its tenants have stored: in their envelopes, from the Supervisor."""

import asyncio

from ray.exceptions import RayError

from actors.names import SUPERVISOR, forget, handle
from runtime.agents.credentials import FromSettings
from runtime.errors import StepFailed
from runtime.keys.base_urls import BaseUrls
from runtime.keys.credentials import StoredCredentials
from runtime.secrets import open_box
from runtime.settings import Settings
from runtime.store.key_protocol import ProviderKeyRow

PATIENCE_SECONDS = 30.0
"""How long a Supervisor or a database that is away is waited for; Ray starts a Supervisor anew within a few seconds."""
RETRY_SECONDS = 0.2


def credentials(wanted: Settings) -> StoredCredentials:
    """The keys of model calls made in this process. SECRET_KEY is of its own settings: through Ray travels nothing that could be read."""
    return StoredCredentials(from_supervisor, lambda: open_box(wanted), FromSettings(wanted), BaseUrls(wanted.outbound_allow))


async def from_supervisor(tenant: str, provider: str) -> ProviderKeyRow | None:
    """What this tenant has stored for this provider, still encrypted. Raises StepFailed `keys_unavailable`."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    found: list[ProviderKeyRow] = await handle(SUPERVISOR).envelopes.remote(tenant, provider)
                    return found[0] if found else None
                except (RayError, ValueError):
                    forget(SUPERVISOR)
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError:
        raise StepFailed("keys_unavailable", f"the stored keys could not be asked for within {PATIENCE_SECONDS:g} s") from None
