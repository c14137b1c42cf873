"""What holds for all tests."""

from collections import OrderedDict
from collections.abc import Iterator

import pytest

from runtime.redaction import redact

pytest.register_assert_rewrite("tests.scenarios.answers", "tests.scenarios.interrupted", "tests.scenarios.stage")


@pytest.fixture(autouse=True)
def forgotten_secrets() -> Iterator[None]:
    """Secrets a test has opened are none for the next: what may be the beginning of one is held back from streams, whoever has named it."""
    known = OrderedDict(redact._known)
    yield
    redact._known, redact._searched = known, tuple(known.items())
