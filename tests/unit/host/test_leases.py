"""Who is taken for dead, and when."""

import pytest

from runtime.host.leases import Observer
from runtime.store.protocol import OwnerRow


class Watch:
    """A monotonic clock that a test sets."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> int:
        return 0


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def look(watch: Watch):
    observer = Observer("me", watch, 3000)

    def at(seconds: float, **beats: int) -> list[str]:
        watch.seconds = seconds
        return observer.dead([OwnerRow(name, beat, 0, "here", name, "0") for name, beat in beats.items()])

    return at


def test_a_beat_that_stands_still_for_a_lease(look):
    assert look(0, me=1, other=1) == []
    for quarter in range(1, 4):
        assert look(quarter * 0.75, me=1, other=1) == []
    assert look(3.0, me=1, other=1) == ["other"]


def test_a_beat_that_moves(look):
    assert [look(step * 0.75, other=step // 3) for step in range(20)] == [[]] * 20


def test_what_was_not_watched_does_not_count(look):
    """The database was away for a minute: nobody could beat, and nobody is dead for that."""
    assert look(0, other=1) == []
    assert look(60, other=1) == []
    assert look(60.75, other=2) == []
    assert [look(61.5 + step * 0.75, other=2) for step in range(4)] == [[], [], [], ["other"]]
