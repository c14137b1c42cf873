"""Whether programs can be read at all, found out without running a line of them."""

import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runtime.errors import Overloaded, Problem
from runtime.sandbox.program import DEFAULT_MEMORY, GRACE_SECONDS, MAX_RECURSION
from runtime.sandbox.workers import Launcher

if TYPE_CHECKING:
    from pydantic_monty import MontyError, MontySession

SECONDS = 2.0
"""For reading one program; a long one takes a few milliseconds."""
BEFORE = "if stop: return None\n"
"""Stands in front of a program: all of it is read and compiled, and then nothing but this line is carried out. Not a bare `return`: what is seen to be
out of reach is not compiled."""

MAX_LOST = 3
"""Workers the programs of one definition may bring down; those that were not reached then count as unreadable too."""

_PLACE = re.compile(r" \(<string>, line (\d+)\)$")
_one_at_a_time = threading.Lock()


def syntax_problems(sources: Sequence[str]) -> list[Problem | None]:
    """For each program the first thing in it that is no program, with line and column within it; None where there is none.

    Reads them in a worker process, which is started for this and ended with it. Raises Overloaded when none can be started.
    """
    from pydantic_monty import Monty, MontyCrashedError, ResourceLimits

    limits = ResourceLimits(max_feed_duration_secs=SECONDS, max_memory=DEFAULT_MEMORY, max_recursion_depth=MAX_RECURSION, max_total_sleep_secs=0.0)
    found: list[Problem | None] = []
    with _one_at_a_time:
        try:
            with Launcher() as path, Monty(binary_path=path, min_processes=0, max_processes=1, feed_duration_limit_grace=GRACE_SECONDS) as pool:
                for _ in range(MAX_LOST):
                    if len(found) == len(sources):
                        break
                    with pool.checkout(limits=limits) as session:
                        _read(session, sources, found)
        except (OSError, MontyCrashedError) as error:
            raise Overloaded("the programs of code steps cannot be read at the moment", retry_after=5) from error
    return found + [_unreadable()] * (len(sources) - len(found))


def _read(session: "MontySession", sources: Sequence[str], found: list[Problem | None]) -> None:
    """Go on in one session until all are read, or one of them has brought the worker down."""
    from pydantic_monty import MontyCrashedError, MontyError

    for source in sources[len(found) :]:
        try:
            session.feed_run(BEFORE + source, inputs={"stop": True})  # tells columns
            session.feed_run("exec(source, {'stop': True})", inputs={"source": BEFORE + source})  # is how it will be run
            found.append(None)
        except MontyCrashedError:
            found.append(_unreadable())
            return
        except MontyError as error:
            found.append(_problem(error))


def _problem(error: "MontyError") -> Problem:
    from pydantic_monty import MontyRuntimeError, MontySyntaxError

    if type(error.exception()).__name__ in ("TimeoutError", "MemoryError"):
        return _unreadable()
    message = str(error).removeprefix("NotImplementedError: ").replace("The monty syntax parser does not yet support", "code steps do not support")
    if place := _PLACE.search(message):
        return Problem("", message[: place.start()], _above(int(place[1])), 1)
    frames = error.traceback() if isinstance(error, MontySyntaxError | MontyRuntimeError) else []
    return Problem("", message, _above(frames[0].line), frames[0].column) if frames else Problem("", message, 1, 1)


def _above(line: int) -> int:
    """The program's line, without the one in front of it."""
    return max(1, line - BEFORE.count("\n"))


def _unreadable() -> Problem:
    return Problem("", "the program cannot be read within its limits of time and memory", 1, 1)
