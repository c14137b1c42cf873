"""Functions that give away what a process of the cluster knows."""

import os
from typing import Any

from actors.process import settings
from runtime.errors import StepFailed


async def tell(name: str, context: Any) -> None:
    """Raise, and log, a secret setting of this process."""
    value = getattr(settings(), name)
    secret = value.get_secret_value()
    context.log.warning("it is", secret=secret)
    raise StepFailed("told", f"it is {secret}", details={"deep": [secret]})


def tell_in_thread(name: str) -> None:
    """Raise it as any exception."""
    raise ValueError(getattr(settings(), name).get_secret_value())


def die() -> None:
    """End the process in the way of a crash."""
    os.abort()
