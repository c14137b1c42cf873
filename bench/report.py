"""The table and the JSON."""

import json
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.workloads import Workload


@dataclass(frozen=True, slots=True)
class Row:
    """One workload measured one way, three times."""

    workload: Workload
    way: str
    values: tuple[float, ...]
    pss_mb: float
    cpu: float
    others: float

    @property
    def target(self) -> float:
        return self.workload.budget.http if self.way == "http" else self.workload.budget.engine

    @property
    def middle(self) -> float:
        return median(self.values)

    @property
    def met(self) -> bool:
        return self.middle >= self.target if self.workload.budget.higher_is_better else self.middle <= self.target


def show(rows: list[Row], raw: dict[str, float], machine: str) -> None:
    """Print the table."""
    table = Table(title=f"Budgets and measurements ({machine})")
    for column in ("", "workload", "way", "budget", "median", "min..max", "verdict", "raw Ray", "peers", "peak PSS", "CPU s", "others CPU s"):
        table.add_column(column, justify="left" if column in ("", "workload", "way", "peers") else "right")
    for row in rows:
        unit, baseline = row.workload.budget.unit, raw.get(row.workload.key)
        table.add_row(
            row.workload.key,
            row.workload.title,
            row.way,
            f"{row.target:g} {unit}",
            f"{row.middle:,.2f}",
            f"{min(row.values):,.2f}..{max(row.values):,.2f}",
            "[green]met" if row.met else "[red]missed",
            "" if baseline is None else f"{baseline:,.2f}",
            row.workload.peers,
            f"{row.pss_mb:,.0f} MB" if row.pss_mb else "",
            f"{row.cpu:.1f}",
            f"{row.others:.1f}",
        )
    Console(width=190).print(table)


def as_json(rows: list[Row], raw: dict[str, float], machine: str) -> str:
    """The same for machines."""
    found: list[dict[str, Any]] = []
    for row in rows:
        record = {name: value for name, value in asdict(row).items() if name != "workload"}
        found.append({"workload": row.workload.key, **record, "median": row.middle, "budget": row.target, "unit": row.workload.budget.unit, "met": row.met})
    return json.dumps({"machine": machine, "rows": found, "raw_ray": raw}, indent=2)
