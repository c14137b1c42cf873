"""What the command prints: tables for people, JSON for machines."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
PIPE_WIDTH = 1000
"""Columns of a table that nobody looks at."""
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most this many.")]

STYLES = {
    "succeeded": "green",
    "failed": "red",
    "canceled": "yellow",
    "canceling": "yellow",
    "paused": "yellow",
    "running": "cyan",
    "waiting": "magenta",
    "retrying": "magenta",
    "queued": "dim",
    "pending": "dim",
    "scheduled": "dim",
    "skipped": "dim",
    "started": "green",
    "active": "green",
    "buffered": "magenta",
    "missed": "red",
    "over": "dim",
}


def console(*, stderr: bool = False) -> "Console":
    """A console on the present stdout or stderr; `rich` costs 70 ms and is loaded only here. Pipes get lines of any width."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, soft_wrap=True)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, soft_wrap=True, width=PIPE_WIDTH)


def clean(value: Any) -> str:
    """Text that cannot move the cursor or change colours: control characters become visible."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in str(value))


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def line(text: str, style: str = "") -> None:
    """One line, without markup."""
    console().print(clean(text), style=style or None, markup=False)


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table; `empty` is the sentence printed when there are no rows. Cells that are states get their colour."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        line(empty, "dim")
        return
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, header in enumerate(headers):
        drawn.add_column(header, no_wrap=index == 0, overflow="fold")  # the first one is an id, which people copy
    for row in rows:
        texts = ["" if cell is None else clean(cell) for cell in row]
        drawn.add_row(*(Text(text, style=STYLES.get(text, "")) for text in texts))
    console().print(drawn)


def fields(pairs: Iterable[tuple[str, Any]]) -> None:
    """Name and value, one pair to a line; pairs without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    for name, value in pairs:
        if value in (None, "", {}, []):
            continue
        text = clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2) if isinstance(value, dict | list) else value)
        grid.add_row(Text(name, style="dim"), Text(text, style=STYLES.get(text, "")))
    console().print(grid)


def when(value: str | None) -> str:
    """An RFC 3339 time as local date and time; empty for None."""
    return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S") if value else ""


def ms(value: str) -> int:
    """An RFC 3339 time as milliseconds since the epoch."""
    return round(datetime.fromisoformat(value).timestamp() * 1000)


def took(begin: str | None, end: str | None) -> str:
    """The time between two RFC 3339 times; empty while one of them is missing."""
    return seconds(ms(end) - ms(begin)) if begin and end else ""


def seconds(ms: float | None) -> str:
    """`850 ms`, `12.3 s`, `4 m 05 s`, `2 h 10 m`; empty for None."""
    if ms is None:
        return ""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    minutes, rest = divmod(int(ms // 1000), 60)
    return f"{minutes} m {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} m"


def size(count: int) -> str:
    """`512 B`, `3.4 kB`, `1.2 MB`."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
