"""From a schedule and a time to the run it starts."""

from dataclasses import replace
from typing import Any

from runtime.clock import rfc3339
from runtime.definition.inputs import check_inputs
from runtime.definition.model import Definition
from runtime.errors import AgenticError, InputInvalid, Problem
from runtime.gateway import StartRequest
from runtime.gateway.starts import ScheduledBy
from runtime.schedules.spec import ScheduleSpec
from runtime.store.schedules.protocol import ScheduleRow


def start_request(row: ScheduleRow, spec: ScheduleSpec, at: int, *, tick: int | None) -> StartRequest:
    """What to start for the time `at`; `tick` is None outside the ticks."""
    return StartRequest(
        spec.workflow,
        inputs_at(spec, at),
        spec.version,
        spec.mode,
        spec.labels,
        spec.priority,
        scheduled=ScheduledBy(row.schedule_id, row.name, tick),
        user=f"schedule:{row.name}",
    )


def triggered(row: ScheduleRow, spec: ScheduleSpec, at: int, key: str | None) -> StartRequest:
    """The same for somebody who asks for a run now."""
    return replace(start_request(row, spec, at, tick=None), idempotency_key=key)


def inputs_at(spec: ScheduleSpec, at: int) -> dict[str, Any]:
    """The inputs of the run for the time `at`."""
    return {**spec.inputs, **({spec.tick_input: rfc3339(at)} if spec.tick_input else {})}


def input_problems(spec: ScheduleSpec, definition: Definition, at: int) -> list[Problem]:
    """Why the inputs would be refused; pointers lead into the schedule's document."""
    try:
        check_inputs(definition, inputs_at(spec, at))
    except InputInvalid as error:
        return [_placed(problem, spec) for problem in error.problems]
    return []


def _placed(problem: Problem, spec: ScheduleSpec) -> Problem:
    mine = spec.tick_input is not None and (problem.pointer == f"/{spec.tick_input}" or problem.pointer.startswith(f"/{spec.tick_input}/"))
    return replace(problem, pointer="/tick_input" if mine else f"/inputs{problem.pointer}")


def error_body(error: AgenticError) -> dict[str, Any]:
    """An error as ticks and schedules show it."""
    details = [{"pointer": problem.pointer, "detail": problem.detail} for problem in error.problems[:20]]
    return {"code": error.code, "message": str(error)[:1000], **({"errors": details} if details else {})}
