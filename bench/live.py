"""The settings of a platform for one measurement: a home that goes with it, and a model that costs nothing."""

import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.model_server import ModelServer
from runtime.settings import Settings


def live_settings(stack: ExitStack, model: ModelServer, **more: Any) -> Settings:
    """Live, on `model`. `stack` removes the home; `more`: further settings."""
    return Settings(
        home=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentic-bench-"))),
        api_port=free_port(),
        run_mode="live",
        openai_base_url=model.url,
        openai_api_key="bench",
        **more,
    )


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
