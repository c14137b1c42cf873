"""A program, its limits, and what became of it: the interpreter's words turned into ours."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime.errors import StepFailed

if TYPE_CHECKING:
    from pydantic_monty import Frame, MontyError

MAX_SOURCE = 100_000
"""Characters of a program."""
MIN_MEMORY, DEFAULT_MEMORY, MAX_MEMORY = 8 * 2**20, 64 * 2**20, 512 * 2**20
"""Bytes a program and its values may take."""
DEFAULT_SECONDS, MAX_SECONDS = 10.0, 300.0
MAX_RECURSION = 400
"""Calls within calls; the interpreter needs some of them itself."""
MAX_SUSPENSIONS = 100
"""Times a program may ask its host for something, all of which are refused."""
MAX_PRINTED = 64 * 2**10
"""Characters a program may print."""
GRACE_SECONDS = 0.4
"""How long past its time a worker may take to notice; then it is killed."""

# `exec` gives the program names of its own, and its `return` as its value; what crosses the border is one text each way, so that neither a
# value that stands for more than it is (a list that holds itself twice, forty times over) nor a million objects are ever unfolded in the host.
WRAPPER = """import json
names = json.loads(inputs)
output = exec(source, names)
text = json.dumps(output, allow_nan=False, separators=(",", ":"))
text if len(text) <= limit else len(text)
"""
READING, RUNNING, WRITING = 2, 3, 4
"""Lines of the wrapper."""
OWN_FILE = "<string>"
"""What the interpreter calls the text that is run by `exec`."""


@dataclass(frozen=True, slots=True)
class Program:
    """One attempt of a program. The same program gives the same result, whenever and wherever it runs."""

    source: str
    inputs: str
    """JSON of an object: the names the program finds."""
    seconds: float = DEFAULT_SECONDS
    memory: int = DEFAULT_MEMORY
    max_output: int = 10 * 2**20
    """Bytes of the output's JSON, all ASCII."""
    seed: str = ""
    """Of `random`."""
    now_ms: int = 0
    """What every clock shows, in ms since the Unix epoch."""


def failure_of(error: "MontyError", program: Program) -> StepFailed:
    """What a program's failure means: its own line and words, none of ours. Never worth another attempt, for it would end alike."""
    from pydantic_monty import MontyRuntimeError, MontySyntaxError

    kind, message = type(error.exception()).__name__, str(error)
    frames = error.traceback() if isinstance(error, MontyRuntimeError | MontySyntaxError) else []
    if kind == "TimeoutError" and not frames:
        return too_slow(program)
    if kind == "MemoryError":
        return StepFailed("memory_exceeded", f"the program needs more than its {program.memory >> 20} MiB of memory", retryable=False)
    if frames and frames[0].line == WRITING:
        return StepFailed("output_not_json", f"the output is not JSON: {message}", retryable=False)
    line = _line(frames, program.source)
    where = "" if line is None else f"line {line}: "
    details = {"type": kind} | ({} if line is None else {"line": line})
    return StepFailed("code_error", f"{where}{message}", retryable=False, details=details)


def too_slow(program: Program) -> StepFailed:
    """The program did not end in its time."""
    return StepFailed("timeout", f"the program took longer than {program.seconds:g} s", retryable=False)


def _line(frames: "list[Frame]", source: str) -> int | None:
    """The innermost line of the program. What it hands to `eval` or `exec` itself counts lines of its own."""
    last = source.count("\n") + 1
    return next((frame.line for frame in reversed(frames) if frame.filename == OWN_FILE and frame.line <= last), None)


def limits_of(program: Program) -> Any:
    """The interpreter's limits for it."""
    from pydantic_monty import ResourceLimits

    return ResourceLimits(
        max_feed_duration_secs=program.seconds,
        max_turn_duration_secs=program.seconds,
        max_memory=program.memory,
        max_recursion_depth=MAX_RECURSION,
        max_suspensions=MAX_SUSPENSIONS,
        max_total_sleep_secs=0.0,
    )
