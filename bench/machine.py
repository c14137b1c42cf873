"""What the machine spent: memory of the whole process tree, CPU of it and of everybody else."""

import asyncio
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import psutil


def tree(roots: Iterable[int]) -> list[psutil.Process]:
    """These processes and all below them."""
    found: dict[int, psutil.Process] = {}
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(root)
            for each in (process, *process.children(recursive=True)):
                found[each.pid] = each
    return list(found.values())


def pss_mb(roots: Iterable[int]) -> float:
    """Proportional memory (PSS) of the trees below `roots`, in MB."""
    total = 0
    for process in tree(roots):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += process.memory_full_info().pss
    return total / 1e6


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU used so far by the living processes of the trees."""
    total = 0.0
    for process in tree(roots):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


@dataclass(slots=True)
class Usage:
    """Of one measurement: peak PSS in MB, CPU seconds of the tree and of all other processes."""

    pss_mb: float = 0.0
    cpu: float = 0.0
    others: float = 0.0


class Meter:
    """`async with Meter(roots) as usage`: samples memory while the body runs."""

    def __init__(self, roots: Iterable[int], every: float = 2.0) -> None:
        self._roots = list(roots)
        self._every = every
        self.usage = Usage()

    async def __aenter__(self) -> Usage:
        self._cpu, self._busy = cpu_seconds(self._roots), _busy()
        self._task = asyncio.create_task(self._sample())
        return self.usage

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        self.usage.cpu = max(0.0, cpu_seconds(self._roots) - self._cpu)
        self.usage.others = max(0.0, _busy() - self._busy - self.usage.cpu)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            self.usage.pss_mb = max(self.usage.pss_mb, await asyncio.to_thread(pss_mb, self._roots))


def _busy() -> float:
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


def description() -> str:
    """The machine in one line."""
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}"
