"""A bureau on each database."""

from pathlib import Path

import pytest

from runtime.settings import Settings
from runtime.store.open import Store
from tests.contract.scheduling.bureau import Bureau


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def bureau(store: Store, settings: Settings) -> Bureau:
    return Bureau(store, settings)


@pytest.fixture
def rival(second: Store, settings: Settings, bureau: Bureau) -> Bureau:
    """Another process on the same database, with the same time."""
    return Bureau(second, settings, bureau.clock)
