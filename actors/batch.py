"""`ray job submit -- python -m actors.batch FILE.jsonl`: many runs from a file, started once, followed to their ends.

Each line is `{"workflow": "name", "inputs": {…}, "labels": {…}, "mode": "live"}`; with `--workflow` a line is the inputs alone. The job
only enqueues durable runs and watches: when it is stopped or its cluster is lost, the runs go on. Submitting the same file again under
the same submission id starts nothing twice. Exit code: 0 all succeeded, 1 some did not, 2 the file is not valid.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import structlog

from actors.directory import Pulse, Report
from actors.names import NAMESPACE
from actors.process import settings
from actors.runner import RayRunner
from actors.supervisor import ensure_supervisor
from runtime.artifacts.open import open_artifacts
from runtime.errors import AgenticError, RequestInvalid
from runtime.gateway import Gateway, StartRequest
from runtime.logs import set_up_logs
from runtime.store.open import open_store
from runtime.store.protocol import RunRow

log = structlog.get_logger(__name__)

CHUNK = 1000
"""Runs started in one transaction."""
WAIT_SECONDS = 30.0
FIELDS = {"workflow", "inputs", "labels", "mode", "version", "priority"}


@dataclass(frozen=True, slots=True)
class Line:
    """One run to start and where it was asked for."""

    number: int
    request: StartRequest


def read(paths: Sequence[Path], workflow: str | None, submission: str) -> list[Line]:
    """All lines of all files, numbered through. Raises RequestInvalid naming the file and the line."""
    lines: list[Line] = []
    for path in paths:
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if text.strip():
                key = f"batch:{submission}:{len(lines) + 1}"
                lines.append(Line(len(lines) + 1, _request(text, workflow, key, f"{path.name}:{number}")))
    return lines


def _request(text: str, workflow: str | None, key: str, place: str) -> StartRequest:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise RequestInvalid(f"{place}: not JSON ({error})") from None
    if not isinstance(given, dict):
        raise RequestInvalid(f"{place}: a line is a JSON object")
    if workflow is not None:
        return StartRequest(workflow, given, idempotency_key=key)
    unknown = sorted(set(given) - FIELDS)
    if unknown or not isinstance(given.get("workflow"), str):
        raise RequestInvalid(f"{place}: {f'unknown field {unknown[0]}' if unknown else 'workflow is missing'}; known are {', '.join(sorted(FIELDS))}")
    return StartRequest(**given, idempotency_key=key)


async def follow(gateway: Gateway, tenant: str, lines: Sequence[Line]) -> list[RunRow]:
    """Start every line's run and wait until all have ended; the rows in the order of the lines."""
    run_ids: list[str] = []
    for start in range(0, len(lines), CHUNK):
        started = await gateway.start_batch(tenant, [line.request for line in lines[start : start + CHUNK]])
        run_ids += [one.run.run_id for one in started]
    log.info("batch_started", runs=len(run_ids))
    return list(await asyncio.gather(*(_ended(gateway, tenant, run_id) for run_id in run_ids)))


async def _ended(gateway: Gateway, tenant: str, run_id: str) -> RunRow:
    while not (row := await gateway.wait(tenant, run_id, WAIT_SECONDS)).status.ended:
        continue
    return row


async def run_batch(options: argparse.Namespace, submission: str) -> int:
    """The whole job; returns the exit code."""
    wanted = settings()
    lines = read(options.files, options.workflow, submission)
    store = await open_store(wanted.database, durability=wanted.durability, migrate=False)
    runner = RayRunner(store.journal)
    pulse = Pulse(lambda: Report(f"batch-{submission}", "batch"), runner.update)
    await pulse.once()
    pulse.start()
    try:
        gateway = Gateway(store.journal, store.catalog, open_artifacts(wanted), runner, wanted)
        rows = await follow(gateway, options.tenant, lines)
        shown = [{"line": line.number, **_shown(row)} for line, row in zip(lines, rows, strict=True)]
        report(shown, as_json=options.json)
    finally:
        await pulse.stop()
        await store.close()
    return 0 if all(row.status == "succeeded" for row in rows) else 1


def _shown(row: RunRow) -> dict[str, Any]:
    seconds = None if row.ended_at is None else (row.ended_at - (row.started_at or row.created_at)) / 1000
    return {"run_id": row.run_id, "workflow": row.workflow, "status": row.status.value, "seconds": seconds, "error": row.error and row.error.get("message")}


def report(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """One line of JSON per run, or a table and a summary for people."""
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("line", "run", "workflow", "status", "seconds", "error")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console = Console(width=160)
    console.print(table)
    console.print(f"{sum(row['status'] == 'succeeded' for row in rows)} of {len(rows)} runs succeeded")


def submission_id(files: Sequence[Path]) -> str:
    """The id `ray job submit` gave this job; outside of a job a hash of the files, so that a repeated call is the same batch."""
    config = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    given = config.get("metadata", {}).get("job_submission_id")
    return str(given) if given else hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:32]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m actors.batch", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--workflow", help="start this workflow for every line; the line is its inputs")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--json", action="store_true", help="one JSON object per run instead of a table")
    parser.add_argument("--submission-id", help="same id, same runs; default: the id of the Ray job")
    options = parser.parse_args(arguments)
    try:
        set_up_logs(settings())
        submission = options.submission_id or submission_id(options.files)
        ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), namespace=NAMESPACE, log_to_driver=False, logging_level=logging.WARNING)
        ensure_supervisor()
        return asyncio.run(run_batch(options, submission))
    except (AgenticError, OSError, TypeError) as error:
        sys.stderr.write(f"{error}\n")
        for problem in getattr(error, "problems", ()):
            sys.stderr.write(f"  {problem.pointer}: {problem.detail}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
