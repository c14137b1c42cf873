"""The harness's side of the witness: starts its process, and reads its ledger."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.ports import free_port, until

ROOT = Path(__file__).parents[2]


@dataclass
class Observer:
    """A running witness. `url` is where steps, models and webhooks are sent."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    session: aiohttp.ClientSession | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns when it answers."""
        self.port = self.port or free_port()
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        command = [sys.executable, "-m", "tests.chaos.witness", "--log", str(self.folder / "witness.jsonl"), "--port", str(self.port)]
        with (self.folder / "witness.err").open("ab") as errors:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True)
        await until(self._answers, 30)

    async def _answers(self) -> bool:
        assert self.session is not None
        try:
            async with self.session.get(f"{self.url}/healthz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def ledger(self) -> list[dict[str, Any]]:
        """Everything that arrived so far."""
        assert self.session is not None
        async with self.session.get(f"{self.url}/ledger") as answer:
            text = await answer.text()
        return [json.loads(line) for line in text.splitlines()]

    async def control_webhook(self, name: str, **told: Any) -> None:
        """Set `secret`, or add to the `script`, of a webhook's name."""
        assert self.session is not None
        async with self.session.post(f"{self.url}/control/webhook/{name}", json=told) as answer:
            answer.raise_for_status()

    async def stop(self) -> None:
        if self.session is not None:
            await self.session.close()
        if self.process is not None:
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, 5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                await asyncio.to_thread(self.process.wait, 5)
