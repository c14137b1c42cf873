"""What all tests share: the tests of one Ray cluster stay in one process when the suite is split over several."""

import pytest


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests below tests/ray share the session's cluster, and those below tests/contract its PostgreSQL server."""
    for item in items:
        for folder in ("ray", "contract"):
            if f"/tests/{folder}/" in item.path.as_posix():
                item.add_marker(pytest.mark.xdist_group(folder))
        if "/tests/ray/" in item.path.as_posix() and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(180))  # the first one starts the cluster
