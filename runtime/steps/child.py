"""What a step's own process does: read one assignment from stdin, call the function, answer on a pipe."""

import asyncio
import os
import pickle
import signal
import sys
import threading
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from runtime.artifacts.open import open_artifacts
from runtime.settings import Settings
from runtime.steps.context import Clock, StepServices, Work
from runtime.steps.outcome import failure, plain_json, tidy
from runtime.steps.protocol import Item, StepCall
from runtime.steps.python import Caller, PythonKind

STARTED = b"started"
SIZE_BYTES = 8
"""The answer is these two, with the function's time in between, then JSON of that many bytes."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Everything the process needs; it has no secrets and no way to the database."""

    call: StepCall
    item: Item | None
    spec: dict[str, Any]
    """The rendered `python` mapping."""
    settings: Settings


def main(pipe: int) -> None:
    """Work, answer, end. Ends at once when the parent goes: its end of stdin closes then."""
    assignment: Assignment = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by the parent process, over a pipe
    threading.Thread(target=_watch_parent, daemon=True).start()
    with os.fdopen(pipe, "wb") as answers:
        answers.write(STARTED)
        answers.flush()
        answer = to_json(asyncio.run(_carry_out(assignment)))
        answers.write(len(answer).to_bytes(SIZE_BYTES) + answer)
    sys.stdout.flush()
    # Not a normal exit: that would wait for threads the function may have left behind.
    os._exit(0)


async def _carry_out(assignment: Assignment) -> dict[str, Any]:
    services = StepServices(assignment.settings, open_artifacts(assignment.settings))
    work = Work(assignment.call, assignment.item, Clock(None, lambda: None))
    try:
        outcome = await PythonKind(services, Caller(services)).run(assignment.spec, work)
        return {"output": plain_json(outcome.output), "saved": work.saved}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever user code raises is the answer
        sys.excepthook(type(error), error, error.__traceback__)  # for the log: the answer carries no stack
        return {"error": tidy(failure(error))}


def _watch_parent() -> None:
    """End this process and whatever it has started (it leads a group of its own) when the parent's end of stdin closes."""
    while sys.stdin.buffer.read(1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
