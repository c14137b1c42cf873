"""`python -m tests.chaos.alone F13 [--count N] [--database sqlite]`: one trial without Ray; its verdict as JSON, exit 1 when it failed."""

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from tests.chaos.alone.trials import TRIALS

for _module in ("databases", "disks", "clients", "owners", "providers"):
    import_module(f"tests.chaos.alone.{_module}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(TRIALS))
    parser.add_argument("--count", type=int)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    parser.add_argument("--keep", type=Path, help="a folder for homes and logs, which then stays")
    given = parser.parse_args()
    chosen = TRIALS[given.name]
    databases = [given.database] if given.database else chosen.databases
    count = given.count if given.count is not None else -(-chosen.bar // len(databases))
    failed = 0
    for database in databases:
        with tempfile.TemporaryDirectory(prefix="alone-") as temporary:
            folder = (given.keep or Path(temporary)) / f"{chosen.name}-{database}"
            folder.mkdir(parents=True, exist_ok=True)
            verdict = asyncio.run(chosen.run(folder, database, count))
        print(json.dumps({**asdict(verdict), "violations": verdict.violations[:50], "found": len(verdict.violations), "passed": verdict.passed}), flush=True)
        failed += not verdict.passed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
