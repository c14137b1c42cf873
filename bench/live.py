"""The settings of a platform for one measurement: a home that goes with it, and a model that costs nothing."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from actors.ports import draw
from bench.model_server import ModelServer
from runtime.settings import Settings


def live_settings(stack: ExitStack, model: ModelServer, **more: Any) -> Settings:
    """Live, on `model`. `stack` removes the home; `more`: further settings."""
    return Settings(
        home=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentic-bench-"))),
        api_port=draw(),
        run_mode="live",
        openai_base_url=model.url,
        openai_api_key="bench",
        **more,
    )
