"""The HTTP column: the same workloads through Serve, by a client outside the cluster."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp


class HttpClient:
    """Starts runs with `Prefer: wait`, so that one request brings the result."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(self._url, headers=self._headers, connector=connector, timeout=aiohttp.ClientTimeout(total=300))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._session.close()

    async def publish(self, definition: Mapping[str, Any]) -> None:
        """Make the definition the current version."""
        async with self._session.put(f"/v1/workflows/{definition['name']}", json=definition) as answer:
            if answer.status >= 300:
                raise RuntimeError(await answer.text())

    async def run(self, workflow: str, inputs: Mapping[str, Any]) -> Any:
        """Start a run and wait for its end. Raises RuntimeError when it did not succeed."""
        body = {"inputs": dict(inputs), "mode": "live"}
        async with self._session.post(f"/v1/workflows/{workflow}/runs", json=body, headers={"Prefer": "wait=60"}) as answer:
            run = await answer.json()
            if answer.status >= 300:
                raise RuntimeError(str(run))
        run_id = run["run_id"]
        while run["status"] not in ("succeeded", "failed", "canceled"):
            async with self._session.get(f"/v1/runs/{run_id}", headers={"Prefer": "wait=60"}) as answer:
                run = await answer.json()
        if run["status"] != "succeeded":
            raise RuntimeError(f"{workflow} ended {run['status']}: {run.get('error')}")
        return run.get("output")
