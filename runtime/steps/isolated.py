"""Steps with `resources`: each in a process of its own, given by Ray or, in local mode, started here."""

import asyncio

from runtime.agents.credentials import Credentials
from runtime.artifacts.open import open_artifacts
from runtime.money.purse import Purse
from runtime.settings import Settings
from runtime.steps.context import RecordCall, StepServices
from runtime.steps.process import ProcessKind
from runtime.steps.protocol import StepCall, StepResult
from runtime.steps.runner import StepRunner
from runtime.tracing.spans import Tracer


def run_isolated(
    call: StepCall,
    settings: Settings,
    record: RecordCall | None = None,
    credentials: Credentials | None = None,
    purse: Purse | None = None,
    tracer: Tracer | None = None,
) -> list[StepResult]:
    """Carry one call out in this process, which has nothing else to do; blocks until all its results are there.

    A plain function that runs into the timeout keeps its thread busy: the caller should not reuse the process after an error
    with the code `timeout`.
    """
    services = StepServices(settings, open_artifacts(settings), record=record, credentials=credentials, purse=purse, tracer=tracer)
    return asyncio.run(_run(call, services))


async def _run(call: StepCall, services: StepServices) -> list[StepResult]:
    runner = StepRunner(services)
    try:
        return [result async for batch in runner.execute([call]) for result in batch]
    finally:
        await runner.close()


class LocalIsolated(StepRunner):
    """The executor of local mode for steps with `resources`: a process for each attempt, killed at its timeout or when canceled."""

    def __init__(self, services: StepServices) -> None:
        super().__init__(services, {"python": ProcessKind(services)})
