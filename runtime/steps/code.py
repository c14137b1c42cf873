"""The `code` step: a small program over the values it is given, in a worker process behind walls."""

from typing import Any

import structlog
from pydantic_core import from_json, to_json

from runtime.errors import StepFailed
from runtime.ids import created_ms, is_uuid
from runtime.sandbox.pool import Printed, Sandbox
from runtime.sandbox.program import DEFAULT_SECONDS, MAX_SECONDS, Program
from runtime.steps.context import StepServices, Work
from runtime.steps.outcome import MAX_MESSAGE, Outcome


class CodeKind:
    """Carries `code` steps out. Simulated runs do the same: a program has no effects."""

    def __init__(self, services: StepServices, sandbox: Sandbox | None = None) -> None:
        self._settings = services.settings
        self._sandbox = sandbox or Sandbox()

    async def run(self, spec: dict[str, Any], work: Work) -> Outcome:
        """What the program returns. Raises StepFailed `code_not_allowed`, and with the codes of runtime/sandbox/pool.py."""
        if not self._settings.code_steps:
            raise StepFailed("code_not_allowed", "code steps are not allowed here; the operator allows them with the setting code_steps", retryable=False)
        work.clock.stop()  # the sandbox keeps the time, without that spent in its queue
        program = program_of(spec, work, self._settings.max_output_bytes)
        printed = Printed()
        try:
            text = await self._sandbox.run(program, printed)
        finally:
            if printed.parts:
                _log(printed, work)
        try:
            return Outcome(from_json(text, allow_inf_nan=False))
        except ValueError as error:
            raise StepFailed("output_not_json", f"the output is not JSON: {error}"[:MAX_MESSAGE], retryable=False) from error

    async def close(self) -> None:
        """End the workers."""
        await self._sandbox.close()


def program_of(spec: dict[str, Any], work: Work, limit: int) -> Program:
    """The program of a rendered `code` mapping. Chance and clocks depend on the run, the step and the item alone, never on the attempt."""
    timeout = work.call.timeout_ms
    return Program(
        source=spec["source"],
        inputs=to_json(spec["inputs"]).decode(),
        seconds=DEFAULT_SECONDS if timeout is None else min(timeout / 1000, MAX_SECONDS),
        memory=spec["memory"],
        max_output=limit,
        seed=work.idempotency_key,
        now_ms=created_ms(work.call.run_id) if is_uuid(work.call.run_id) else 0,
    )


def _log(printed: Printed, work: Work) -> None:
    log = structlog.get_logger("step").bind(**work.facts())
    log.info("printed", text=printed.text)
