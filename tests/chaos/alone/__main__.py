"""`python -m tests.chaos.alone F13 [--count N] [--database sqlite]`: one trial without Ray; its verdict as JSON, exit 1 when it failed.

With `--results` the verdict goes into the same file as those of the trials on Ray, for the table. The seed decides when and where faults
come; what the processes make of it is theirs.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from tests.chaos import results
from tests.chaos.alone.trials import TRIALS

for _module in ("databases", "disks", "clients", "owners", "providers"):
    import_module(f"tests.chaos.alone.{_module}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(TRIALS))
    parser.add_argument("--count", type=int)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--results", type=Path, help="a folder whose trials.jsonl gets the verdict as well")
    parser.add_argument("--keep", type=Path, help="an existing folder for homes and logs, which then stay; those of a failed trial stay anyway")
    given = parser.parse_args()
    chosen = TRIALS[given.name]
    databases = [given.database] if given.database else chosen.databases
    count = given.count if given.count is not None else -(-chosen.bar // len(databases))
    failed = 0
    for database in databases:
        folder = Path(tempfile.mkdtemp(prefix=f"alone-{chosen.name}-{database}-", dir=given.keep))
        random.seed(given.seed)
        began = time.monotonic()
        verdict = asyncio.run(chosen.run(folder, database, count))
        if given.results is not None:
            line = results.line(
                fault=verdict.name,
                database=verdict.database,
                seed=given.seed,
                asked=verdict.wanted,
                done=verdict.done,
                runs=verdict.notes.get("runs", 0),
                seconds=time.monotonic() - began,
                notes=verdict.notes,
                violations=verdict.violations,
            )
            results.append(given.results, line)
        if verdict.passed and given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"kept: {folder}", file=sys.stderr)
        print(json.dumps({**asdict(verdict), "violations": verdict.violations[:50], "found": len(verdict.violations), "passed": verdict.passed}), flush=True)
        failed += not verdict.passed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
