"""Results: one JSON line per trial, big counts as shards that go on where they stopped, and the table in the documentation."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.chaos.log import read_lines
from tests.chaos.trial import Outcome

FILE = "trials.jsonl"
BEGIN, END = "<!-- chaos results -->", "<!-- end of chaos results -->"


def append(folder: Path, outcome: Outcome) -> None:
    """Keep the outcome of a trial."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a") as file:
        file.write(json.dumps(outcome.line()) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """All trials so far."""
    return read_lines(folder / FILE)


def done(folder: Path, fault: str, database: str) -> tuple[int, int, int]:
    """Injections, runs and shards that good trials of this fault on this database have had."""
    good = [line for line in read(folder) if line["fault"] == fault and line["database"] == database and not line["violations"] and not line["fence"]]
    return sum(line["done"] for line in good), sum(line["runs"] for line in good), len(good)


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: one row per fault and database."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if not line["fence"]:
            groups[line["fault"], line["database"]].append(line)
    rows = ["| fault | database | trials | injections | runs | events | take-over p50 / p95 / max | violations |", "|---|---|---|---|---|---|---|---|"]
    for (fault, database), found in sorted(groups.items(), key=lambda item: (_order(item[0][0]), item[0][1])):
        times = [line["take_over"] for line in found if line["take_over"]]
        over = f"{max(t['p50'] for t in times):.2f} / {max(t['p95'] for t in times):.2f} / {max(t['max'] for t in times):.2f} s" if times else "-"
        numbers = [len(found), *(sum(line[name] for line in found) for name in ("done", "runs")), sum(line["notes"].get("events", 0) for line in found)]
        bad = sum(len(line["violations"]) for line in found)
        rows.append(f"| {fault} | {database} | {' | '.join(f'{number:,}' for number in numbers)} | {over} | {bad} |")
    return "\n".join(rows)


def _order(name: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, name))
    return (int(digits) if digits else 999, name)


def write_table(folder: Path, page: Path) -> None:
    """Put the table between the markers of the page. Raises ValueError when they are not there."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n{table(read(folder))}\n{END}{after}")
