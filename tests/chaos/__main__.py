"""`python -m tests.chaos`: run one fault, a selection within some minutes, or everything; write the table of results."""

import argparse
import asyncio
import sys
from pathlib import Path

from tests.chaos import campaigns, results

PAGE = Path(__file__).parents[2] / "docs" / "durability.md"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="one fault, so many injections, in shards that go on where they stopped")
    run.add_argument("fault")
    run.add_argument("--count", type=int, help="injections over all shards; the bar of the fault when absent")
    run.add_argument("--runs", type=int, help="runs over all shards")
    run.add_argument("--shard-size", type=int, help="injections of one trial")
    run.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="sqlite")
    run.add_argument("--seed", type=int)
    run.add_argument("--tries", type=int, default=3, help="bad trials in a row after which it gives up")
    select = commands.add_parser("select", help="a mix of faults and databases that fits into the time")
    select.add_argument("--minutes", type=float, default=15)
    select.add_argument("--seed", type=int)
    long = commands.add_parser("long", help="every fault up to its bar")
    long.add_argument("--factor", type=float, default=1.0, help="of every bar")
    long.add_argument("--only", nargs="*", help="these faults")
    long.add_argument("--tries", type=int, default=3, help="bad trials in a row after which a fault is given up")
    long.add_argument("--seed", type=int)
    fences = commands.add_parser("fences", help="take each guard of the journal out: the trials must fail")
    fences.add_argument("--seed", type=int)
    fences.add_argument("--only", nargs="*", help="these fences")
    fences.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    commands.add_parser("list", help="the faults there are")
    table = commands.add_parser("table", help="write the table of results into the documentation")
    table.add_argument("folder", type=Path)
    for each in (run, select, long, fences):
        each.add_argument("--results", type=Path, default=Path("chaos-results"))
        each.add_argument("--home", type=Path, help="where trials put their folders")
        each.add_argument("--keep", action="store_true", help="keep the folders of good trials, too")
    return top


def main() -> int:
    """0 when no trial found a violation."""
    options = parser().parse_args()
    if options.command == "table":
        results.write_table(options.folder, PAGE)
        return 0
    if options.command == "list":
        campaigns.show_list()
        return 0
    return asyncio.run(getattr(campaigns, options.command)(options))


if __name__ == "__main__":
    sys.exit(main())
