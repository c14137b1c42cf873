"""A python step in a process of its own, for local mode: it can be killed, and what it breaks is only itself."""

import asyncio
import os
import pickle
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO

from pydantic_core import from_json

from runtime.errors import StepFailed
from runtime.settings import Settings
from runtime.steps.child import SIZE_BYTES, STARTED, Assignment
from runtime.steps.context import StepServices, Work
from runtime.steps.outcome import Outcome
from runtime.tool_settings import SecretPlace

# What a step's process has no use for: it calls functions and stores artifacts.
ADDRESSES = tuple(name for name in Settings.model_fields if name.endswith("_base_url"))
"""They may hold a password."""
SECRET_SETTINGS = (*Settings.secrets(), *ADDRESSES, "database_url", "database_password_file", "otel_endpoint", "apis", "mcp_servers")
SECRET_VARIABLES = Settings.variables(SECRET_SETTINGS) | {"AGENTIC_DATABASE_PASSWORD_FILE", "AGENTIC_CONFIG"}


def secret_variables(settings: Settings) -> frozenset[str]:
    """Environment variables that hold credentials of tools."""
    places: list[SecretPlace | None] = [api.credential for api in settings.apis.values()]
    for server in settings.mcp_servers.values():
        places += [server.token, *(value for value in server.env.values() if not isinstance(value, str))]
    return frozenset(place.env for place in places if place is not None and place.env is not None)


class ProcessKind:
    """Starts one process for each attempt, as many at once as there are cores. The timeout counts from when the function starts."""

    def __init__(self, services: StepServices) -> None:
        self._services = services
        bare = {name: Settings.model_fields[name].get_default(call_default_factory=True) for name in SECRET_SETTINGS}
        self._settings = services.settings.model_copy(update=bare)
        self._kept_back = SECRET_VARIABLES | secret_variables(services.settings)
        self._places = asyncio.Semaphore(os.cpu_count() or 1)

    async def run(self, spec: dict[str, Any], work: Work) -> Outcome:
        """What the function returns. Raises what the child reports, or StepFailed `executor_lost` when it died without a word."""
        work.clock.stop()
        async with self._places:
            reading, writing = os.pipe()
            with open(reading, "rb", buffering=0) as answers:  # noqa: ASYNC230 - the end of a pipe, it opens at once
                try:
                    process = await self._start(writing)
                finally:
                    os.close(writing)
                swept = asyncio.create_task(_sweep(process))
                try:
                    return await self._result(process, answers, spec, work)
                finally:
                    if process.returncode is None:
                        _kill_group(process)
                    await swept

    async def close(self) -> None:
        """Nothing outlives its attempt."""

    async def _start(self, writing: int) -> Process:
        env = {name: value for name, value in os.environ.items() if name not in self._kept_back}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "runtime.steps.child", str(writing)),
            stdin=asyncio.subprocess.PIPE,
            stdout=2,  # what functions print must not mix with what the command prints
            pass_fds=(writing,),
            env=env | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            start_new_session=True,
        )

    async def _result(self, process: Process, answers: BinaryIO, spec: dict[str, Any], work: Work) -> Outcome:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), answers)
        try:
            assert process.stdin is not None  # noqa: S101 - asked for above
            bare = replace(work.call, spec={}, scope={}, items=None, calls=(), traceparent=work.traceparent)
            process.stdin.write(pickle.dumps(Assignment(bare, work.item, spec, self._settings)))
            await process.stdin.drain()
            await reader.readexactly(len(STARTED))
            work.clock.start()
            size = int.from_bytes(await reader.readexactly(SIZE_BYTES))
            # JSON, and not pickle, on the way back: the other side has run somebody's code.
            return _outcome(from_json(await reader.readexactly(size)), work)
        except (ConnectionError, asyncio.IncompleteReadError):
            status = await process.wait()
            how = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
            raise StepFailed("executor_lost", f"the step's process ended with {how}") from None
        finally:
            transport.close()


def _outcome(answer: dict[str, Any], work: Work) -> Outcome:
    if error := answer.get("error"):
        raise StepFailed(error["code"], error["message"], retryable=error["retryable"], retry_after=error.get("retry_after"), details=error.get("details"))
    work.saved.extend(answer["saved"])
    return Outcome(answer["output"])


async def _sweep(process: Process) -> None:
    """When the process has ended, end what it has started and left behind."""
    await process.wait()
    _kill_group(process)


def _kill_group(process: Process) -> None:
    with suppress(ProcessLookupError):  # nobody of it is left
        os.killpg(process.pid, signal.SIGKILL)
