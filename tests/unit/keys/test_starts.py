"""A platform that is started with a SECRET_KEY other than the one its secrets are under: it says so and touches nothing."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from actors import ingress
from actors.lifecycle import _prepare_database
from runtime.api.services import over
from runtime.errors import SecretUnreadable
from runtime.local import LocalPlatform, local_keys
from runtime.secrets import open_box
from runtime.settings import Settings
from runtime.store.open import open_store
from runtime.store.tables import metadata

RIGHT, OTHER = "right" * 8, "other" * 8
KEY = "sk-canary-2718281828459045"


async def filled(home: Path, **fields: Any) -> Settings:
    """A home whose database holds a provider key and an endpoint."""
    settings = Settings(home=home, drain_ms=100, **fields)
    async with LocalPlatform(settings) as platform:
        services = over(platform.store, platform.gateway, settings)
        await services.provider_keys.put("default", "openai", SecretStr(KEY), None, by="test")
        await services.endpoints.create("default", "https://r.example/", events=["*"])
    return settings


async def rows(settings: Settings) -> dict[str, list[str]]:
    store = await open_store(settings.database)
    try:
        return await store.reader.read(
            lambda connection: {table.name: sorted(map(repr, connection.execute(select(table)).all())) for table in metadata.sorted_tables}
        )
    finally:
        await store.close()


async def locally(settings: Settings) -> None:
    async with LocalPlatform(settings):
        raise AssertionError("it started")


async def replica(settings: Settings) -> None:
    services: AsyncIterator[Any]
    async with aclosing(ingress.replica_services.__wrapped__(settings)) as services:
        async for _ in services:
            raise AssertionError("it started")


@pytest.mark.parametrize("start", [locally, _prepare_database, replica], ids=["local", "agentic up", "API process"])
async def test_it_refuses_says_what_to_do_and_changes_no_row(tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingress, "ensure_supervisor", lambda: pytest.fail("something was started"))
    settings = await filled(tmp_path, secret_key=RIGHT)
    before = await rows(settings)
    with pytest.raises(SecretUnreadable) as refused:
        await start(settings.model_copy(update={"secret_key": SecretStr(OTHER)}))
    text = str(refused.value)
    assert "2 stored secrets cannot be opened with this SECRET_KEY" in text
    assert "provider-key openai of tenant default" in text
    assert "agentic secrets discard" in text
    assert not any(secret in text for secret in (RIGHT, OTHER, KEY))
    assert await rows(settings) == before
    async with LocalPlatform(settings.model_copy(update={"secret_key": SecretStr(f"{OTHER},{RIGHT}")})) as platform:
        credential = await local_keys(platform.store, open_box(settings), settings).of("default", "openai")
    assert credential.key == SecretStr(KEY)


async def test_a_key_file_that_was_lost_is_not_made_up_for(tmp_path: Path) -> None:
    settings = await filled(tmp_path)
    kept = (tmp_path / "secret-key").read_text()
    (tmp_path / "secret-key").unlink()
    with pytest.raises(SecretUnreadable, match="cannot be opened"):
        await locally(settings)
    (tmp_path / "secret-key").write_text(kept)
    async with LocalPlatform(settings) as platform:
        assert len(await platform.store.provider_keys.keys("default")) == 1
