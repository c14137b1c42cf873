"""Large values are kept parsed as long as there is memory for them; the one in use stays."""

import pytest

from runtime.artifacts.local import LocalArtifacts
from runtime.steps.values import PARSED, LoadedValues
from runtime.values import spill

LARGE = 100_000


class Counting:
    def __init__(self, store):
        self.store, self.read = store, []

    async def get(self, digest):
        self.read.append(digest)
        return await self.store.get(digest)


@pytest.fixture
def store(tmp_path):
    return LocalArtifacts(tmp_path)


async def test_a_value_is_read_once_and_given_up_for_later_ones(store):
    first, second, third = [await spill(letter * LARGE, store, limit=2**20) for letter in "abc"]
    counting = Counting(store)
    values = LoadedValues(counting, budget=PARSED * (2 * LARGE + 100))
    for reference in (first, second, first, third, first):
        assert len((await values.scope({"value": reference}))["value"]) == LARGE
    assert len(counting.read) == 3
    await values.scope({"value": second})
    assert len(counting.read) == 4  # the one used longest ago had to go


async def test_a_value_larger_than_the_memory_is_not_read_for_every_batch(store):
    small, large = [await spill(letter * length, store, limit=2**20) for letter, length in (("s", LARGE), ("l", 5 * LARGE))]
    counting = Counting(store)
    values = LoadedValues(counting, budget=2 * LARGE)
    for reference in (small, large, large, large):
        await values.scope({"value": reference})
    assert len(counting.read) == 2
