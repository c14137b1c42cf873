"""Results: one JSON line per trial, big counts as shards that go on where they stopped, and the table in the documentation."""

import importlib.metadata
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from runtime.version import VERSION
from tests.chaos.log import read_lines

FILE = "trials.jsonl"
BEGIN, END = "<!-- chaos results -->", "<!-- end of chaos results -->"
FENCES_BEGIN, FENCES_END = "<!-- fences -->", "<!-- end of fences -->"


def line(*, fault: str, database: str, seed: int, asked: int, done: int, runs: int, seconds: float, **more: Any) -> dict[str, Any]:
    """The outcome of one trial; `more` are `fence`, `take_over`, `notes` and `violations`, as far as there are any."""
    versions = {name: importlib.metadata.version(name) for name in ("ray", "sqlalchemy", "asyncpg")}
    return {
        "fault": fault,
        "database": database,
        "seed": seed,
        "asked": asked,
        "done": done,
        "runs": runs,
        "seconds": round(seconds, 1),
        "fence": None,
        "take_over": {},
        "notes": {},
        "violations": [],
        **more,
        "versions": {"agentic": VERSION, **versions},
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def append(folder: Path, line: dict[str, Any]) -> None:
    """Keep the outcome of a trial."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(folder: Path) -> list[dict[str, Any]]:
    """All trials so far."""
    return read_lines(folder / FILE)


def done(folder: Path, fault: str, database: str) -> tuple[int, int, int]:
    """Injections, runs and shards that good trials of this fault on this database have had."""
    good = [line for line in read(folder) if line["fault"] == fault and line["database"] == database and not line["violations"] and not line["fence"]]
    return sum(line["done"] for line in good), sum(line["runs"] for line in good), len(good)


def table(lines: list[dict[str, Any]]) -> str:
    """Markdown: one row per fault and database. Times of take-over are the worst of the trials, minutes and seeds are of all of them."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        if not line["fence"]:
            groups[line["fault"], line["database"]].append(line)
    rows = [
        "| fault | database | trials | injections | runs | events | take-over p50 / p95 / max | minutes | seeds | violations |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (fault, database), found in sorted(groups.items(), key=lambda item: (_order(item[0][0]), item[0][1])):
        times = [line["take_over"] for line in found if line["take_over"]]
        over = f"{max(t['p50'] for t in times):.2f} / {max(t['p95'] for t in times):.2f} / {max(t['max'] for t in times):.2f} s" if times else "-"
        numbers = [len(found), *(sum(line[name] for line in found) for name in ("done", "runs")), sum(line["notes"].get("events", 0) for line in found)]
        bad = sum(len(line["violations"]) for line in found)
        minutes = sum(line["seconds"] for line in found) / 60
        seeds = _seeds([line["seed"] for line in found])
        rows.append(f"| {fault} | {database} | {' | '.join(f'{number:,}' for number in numbers)} | {over} | {minutes:.1f} | {seeds} | {bad} |")
    return "\n".join(rows)


def fence_table(lines: list[dict[str, Any]]) -> str:
    """Markdown: one row per guard that was taken out, from the last trial without it."""
    last = {line["fence"]: line for line in lines if line["fence"]}
    rows = ["| without | fault | database | injections | runs | seed | findings | the first of them |", "|---|---|---|---|---|---|---|---|"]
    for fence, line in last.items():
        found = [text for text in line["violations"] if not text.startswith("harness")]
        first = found[0].splitlines()[0].replace("|", "\\|")[:160] if found else "-"
        rows.append(f"| {fence} | {line['fault']} | {line['database']} | {line['done']} | {line['runs']} | {line['seed']} | {len(found)} | {first} |")
    return "\n".join(rows)


def _order(name: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, name))
    return (int(digits) if digits else 999, name)


def _seeds(seeds: list[int]) -> str:
    """Shards count their seeds up from the first: `4711-4720`."""
    parts: list[tuple[int, int]] = []
    for seed in sorted(set(seeds)):
        if parts and seed == parts[-1][1] + 1:
            parts[-1] = (parts[-1][0], seed)
        else:
            parts.append((seed, seed))
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def write_table(folder: Path, page: Path) -> None:
    """Put the tables between their markers of the page. Raises ValueError when those are not there."""
    text, lines = page.read_text(), read(folder)
    for begin, end, written in ((BEGIN, END, table(lines)), (FENCES_BEGIN, FENCES_END, fence_table(lines))):
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{page} has no {begin} … {end}")
        text = f"{before}{begin}\n{written}\n{end}{after}"
    page.write_text(text)
