"""Voices of tests know no secrets but those of their test."""

from collections import OrderedDict

import pytest

from runtime.redaction import redact


@pytest.fixture(autouse=True)
def no_secrets(forgotten_secrets: None) -> None:
    redact._known, redact._searched = OrderedDict(), ()
