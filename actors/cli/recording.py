"""`agentic record`: keep what a run was told by the world outside."""

from pathlib import Path
from typing import Annotated

import typer


def record(run_id: str) -> None:
    raise typer.Exit
