"""Functions that the tests of steps call by name."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from os import system
from subprocess import run

from runtime.errors import StepFailed

started = asyncio.Event()
release = asyncio.Event()
seen: list = []
thread_release = threading.Event()

__all__ = ["run", "system"]  # merely imported here: never callable by a step

counter = 7


class CallableObject:
    def __call__(self):
        return 1


instance = CallableObject()


async def noop():
    return None


async def echo(**values):
    return values


async def add(a, b=1):
    return a + b


def add_in_thread(a: int, b: int = 1) -> dict:
    return {"sum": a + b, "thread": threading.current_thread().name}


async def wait_for_release():
    started.set()
    await release.wait()
    return "released"


async def note(value):
    seen.append(value)
    return value


async def spoil(values):
    values.append("changed")
    return len(values)


async def tuples():
    return {"pair": (1, (2, 3)), 5: "five"}


async def not_a_number():
    return {"score": float("nan")}


async def infinite():
    return [float("inf")]


async def an_object():
    return object()


async def lone_surrogate():
    return "a\ud800b \ud83d\ude00"


async def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


async def large(size):
    return "x" * size


async def looks_like_a_reference():
    return {"$artifact": {"sha256": "0" * 64, "size": 1, "media_type": "application/json"}}


async def fail():
    raise ValueError("bad \ud800 luck" + "!" * 10_000)


async def fail_with_code():
    raise StepFailed("no_stock", "nothing is left", retryable=False, retry_after=7, details={"left": 0, "when": (1, 2)})


async def leave():
    sys.exit(3)


def leave_in_thread():
    sys.exit(3)


def stop_iteration_in_thread():
    raise StopIteration("x")


async def cancel_itself():
    raise asyncio.CancelledError


async def deaf():
    started.set()
    while not release.is_set():
        try:
            await release.wait()
        except asyncio.CancelledError:
            continue
    return "late"


async def own_timeout():
    async with asyncio.timeout(0.01):
        await release.wait()


def block_thread():
    thread_release.wait()
    return "late"


def count_threads(n):
    return threading.active_count()


async def first_waits(n):
    if n == 0:
        started.set()
        await release.wait()
    return n


async def about(context):
    return {"run": context.run_id, "step": context.step, "index": context.index, "attempt": context.attempt, "key": context.idempotency_key}


async def save(context, name="report.md", data="# Report"):
    return await context.save_artifact(name, data, "text/markdown")


def save_in_thread(context, data):
    return context.save_artifact("from-thread.txt", data, "text/plain")


def pid():
    return {"pid": os.getpid(), "secret": os.environ.get("OPENAI_API_KEY")}


def spin(path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    while True:
        pass


def die():
    os.kill(os.getpid(), 9)


def shout():
    print("to stdout")
    return time.time() > 0


def generator():
    yield 1


async def _private():
    return 1


def leave_a_child_behind(path, *, die=False):
    child = os.fork()
    if child == 0:
        time.sleep(600)
    with open(path, "w") as file:
        file.write(str(child))
    if die:
        os.kill(os.getpid(), 9)
    return "done"
