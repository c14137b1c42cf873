"""`make bench`: start a platform of its own, measure W1 to W8 both ways beside raw Ray, print budget, measured, verdict.

`python -m bench [W1 W2 …] [--json FILE]`. The platform is quiet otherwise; what other processes used is printed, so that a disturbed
run can be seen and repeated.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from actors.cluster import processes
from actors.lifecycle import Urls, attached_environment, platform_files, start_platform, stop_platform
from bench import report
from bench.engine import repeat
from bench.http import HttpClient
from bench.live import live_settings
from bench.machine import description
from bench.model_server import ModelServer
from bench.workloads import WORKLOADS
from runtime.settings import Settings


def main() -> int:
    """Measure what the arguments name; everything without."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("workloads", nargs="*", default=[workload.key for workload in WORKLOADS])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        model = stack.enter_context(ModelServer(seconds=1.0))
        settings = live_settings(stack, model, runs_per_actor=6000, outbound_allow=["127.0.0.1"])
        urls = start_platform(settings)
        stack.callback(stop_platform, settings)
        rows, raw = measure(settings, urls, arguments.workloads)
    machine = description()
    report.show(rows, raw, machine)
    if arguments.json:
        arguments.json.write_text(report.as_json(rows, raw, machine))
    return 0


def measure(settings: Settings, urls: Urls, keys: list[str]) -> tuple[list[report.Row], dict[str, float]]:
    """The engine column, the HTTP column, and Ray alone, one after the other on the same cluster."""
    found = [*engine_column(settings, keys), *asyncio.run(http_column(settings, urls, keys))]
    raw = next(line["raw"] for line in attached(settings, ["raw"]))
    order = {workload.key: place for place, workload in enumerate(WORKLOADS)}
    return sorted(found, key=lambda row: (order[row.workload.key], row.way)), raw


def engine_column(settings: Settings, keys: list[str]) -> list[report.Row]:
    """Submitted inside the cluster."""
    return [_row("engine", line) for line in attached(settings, keys)]


async def http_column(settings: Settings, urls: Urls, keys: list[str]) -> list[report.Row]:
    """Submitted over HTTP."""
    rows = []
    async with HttpClient(urls.api, (settings.home / "api-key").read_text().strip()) as client:
        for workload in (workload for workload in WORKLOADS if workload.key in keys):
            await client.publish(workload.definition)
            rows.append(_row("http", await repeat(client, workload, roots(settings))))
    return rows


def attached(settings: Settings, arguments: list[str]) -> list[dict[str, Any]]:
    """Run `bench.engine` as a driver of the cluster; the JSON lines it printed."""
    environment = attached_environment(settings) | {"BENCH_ROOTS": ",".join(map(str, roots(settings)))}
    done = subprocess.run([sys.executable, "-m", "bench.engine", *arguments], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def roots(settings: Settings) -> list[int]:
    """The platform's processes."""
    return [process.pid for process in processes(platform_files(settings))]


def _row(way: str, line: dict[str, Any]) -> report.Row:
    workload = next(workload for workload in WORKLOADS if workload.key == line["workload"])
    return report.Row(workload, way, tuple(line["values"]), line["pss_mb"], line["cpu"], line["others"])


if __name__ == "__main__":
    sys.exit(main())
