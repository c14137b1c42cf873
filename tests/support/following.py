"""A client that follows a run's event stream, with what models say meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2


class Reader:
    """One client's stream: its messages, and what it shows of the step in the end."""

    def __init__(self, response: httpx2.Response) -> None:
        self.messages: list[dict[str, Any]] = []
        self._lines = response.aiter_lines()

    async def until(self, wanted: str) -> dict[str, Any]:
        """Read on to the next message of this event, 30 seconds at most."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line:
                    fields[name] = value
                elif "data" in fields:
                    message = {"id": fields.get("id"), "event": fields["event"], **json.loads(fields["data"])}
                    self.messages.append(message)
                    fields = {}
                    if message["event"] == wanted:
                        return message
        raise AssertionError(f"the stream ended without {wanted}")

    @property
    def deltas(self) -> list[dict[str, Any]]:
        """What stands outside the journal."""
        return [message for message in self.messages if message["event"].startswith("step.delta")]

    def text(self, index: int | None = None) -> str:
        """What a client shows of the step in the end. Raises AssertionError when a piece is missing."""
        text, attempt, void = "", 0, 0
        for message in self.messages:
            body = message["body"] or {}
            if message["event"] in ("step.retrying", "step.delta_dropped") and body.get("index") == index and message["attempt"] >= attempt:
                text, void = "", max(void, message["attempt"] if message["event"] == "step.retrying" else 0)
            elif message["event"] == "step.delta" and body["index"] == index and message["attempt"] > void:
                text, attempt = "" if body["offset"] == 0 else text, message["attempt"]
                assert body["offset"] == len(text)
                text += body["text"]
        return text


@asynccontextmanager
async def reading(client: httpx2.AsyncClient, run_id: str, **params: Any) -> AsyncIterator[Reader]:
    """The stream of a run with deltas, read up to where a step waits."""
    async with client.stream("GET", f"/v1/runs/{run_id}/events", params={"deltas": "true", **params}, headers={"accept": "text/event-stream"}) as response:
        assert response.status_code == 200
        reader = Reader(response)
        await reader.until("step.waiting")
        yield reader
