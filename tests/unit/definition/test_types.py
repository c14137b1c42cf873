import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.definition.types import MAX_DURATION_MS, format_duration, parse_duration, parse_size, parse_threshold

DURATIONS = [
    ("250ms", 250),
    ("30s", 30_000),
    ("1m30s", 90_000),
    ("48h", 172_800_000),
    ("7d", 604_800_000),
    (90, 90_000),
    (0.5, 500),
    (0, 0),
    ("0s", 0),
    ("1h5ms", 3_600_005),
]


@pytest.mark.parametrize(("written", "ms"), DURATIONS)
def test_durations(written, ms):
    assert parse_duration(written) == ms


@pytest.mark.parametrize(
    "written", ["", "3x", "-1s", "1s1m", "1.5s", " 1s", "٣s", "9" * 16 + "d", True, None, [], -1, float("nan"), float("inf"), "367d", "1" * 5000 + "s"]
)
def test_what_is_no_duration(written):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(written)


@given(st.integers(0, MAX_DURATION_MS))
def test_formatting_is_the_inverse(ms):
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize(("written", "size"), [("512MiB", 2**29), ("2GB", 2 * 10**9), (1024, 1024), ("7", 7), ("1 KiB", 1024)])
def test_sizes(written, size):
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "lots", "-1", -1, True, None, 1.5, "2000TiB", "9" * 5000])
def test_what_is_no_size(written):
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(written)


@pytest.mark.parametrize(("written", "threshold"), [(3, 3), ("5%", "5%"), ("05%", "5%"), ("100%", "100%")])
def test_thresholds(written, threshold):
    assert parse_threshold(written) == threshold


@pytest.mark.parametrize("written", ["101%", "5", -1, True, None, 0.5, "%"])
def test_what_is_no_threshold(written):
    with pytest.raises(ValueError, match="a count such as 3"):
        parse_threshold(written)
