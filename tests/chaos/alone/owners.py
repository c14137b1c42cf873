"""Two owners at once, by force (F22)."""

import asyncio
import sys
from collections import Counter
from pathlib import Path

from tests.chaos.alone.load import Load, judge
from tests.chaos.alone.stage import stage
from tests.chaos.alone.trials import Verdict, trial
from tests.chaos.tools.singles import ROOT

ROUND_SECONDS = 5.0


@trial("F22", "living owners are taken for dead", bar=300)
async def split_brain(folder: Path, database: str, count: int) -> Verdict:
    """Rounds of five seconds with three owners, two of which accuse each other and everybody else all the while; only the newest epoch may write.

    The server's own host is accused too. Whatever the three do, the journals must be as if one had done it all.
    """
    tally: Counter[str] = Counter()
    # A host that was buried ends itself; the process of a cluster is then started again, so here the server is.
    async with stage(folder, database, kept=True) as at:
        async with Load(at.client, width=6):
            for _ in range(count):
                for said in await asyncio.gather(*(_rival(at.url, name) for name in ("left", "right"))):
                    tally.update({what: int(number) for what, number in (pair.split("=") for pair in said.split())})
        await judge(at.client)
        await at.check()
        if at.told.takeovers < count:
            at.told.violations.append(f"only {at.told.takeovers} runs changed hands: the trial says nothing")
        at.notes |= {**tally, "runs": len(at.told.acknowledged), "statuses": dict(at.told.statuses), "takeovers": at.told.takeovers}
        return Verdict("F22", database, count, count, at.told.violations, at.notes)


async def _rival(url: str, name: str) -> str:
    command = [sys.executable, "-m", "tests.chaos.tools.rival", url, name, str(ROUND_SECONDS)]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"rival {name} ended with {process.returncode}")
    return said.decode().splitlines()[-1]
