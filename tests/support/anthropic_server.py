"""A local server that speaks Anthropic's messages API and says what a test tells it to, in the words of `openai_server`.

async with anthropic_server() as server:
    server.say(Text("hello"), Refuse(529), ToolCalls(("add", {"a": 1, "b": 2})))
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.asgi import PIECE, event, pieces, serving
from tests.support.openai_server import OUTPUT_TOOL, Answer, OpenAIServer, Output, Received, Refusal, Text, ToolCalls

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicReceived(Received):
    """One request; the same questions as to one of OpenAI's."""

    @property
    def tools(self) -> list[str]:
        return [tool["name"] for tool in self.body.get("tools", [])]

    def texts(self, role: str) -> list[str]:
        """The contents of all messages of this role; what tools said is of the role `tool`, the instructions are of `system`."""
        if role == "system":
            system = self.body.get("system", [])
            return [system] if isinstance(system, str) else [block["text"] for block in system]
        if role == "tool":
            return [_text(block["content"]) for message in self.messages for block in _blocks(message) if block["type"] == "tool_result"]
        blocks = [block for message in self.messages if message["role"] == role for block in _blocks(message)]
        return [block["text"] for block in blocks if block["type"] == "text"]


class AnthropicServer(OpenAIServer):
    """The script and what was asked."""

    path = "/v1/messages"
    received = AnthropicReceived

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def completion(self, answer: Answer, number: int, request: Received) -> dict[str, Any]:
        content, reason = _content(answer, number)
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": request.body["model"],
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": 100, "output_tokens": 10},
        }

    def events(self, completion: dict[str, Any], size: int = PIECE) -> tuple[bytes, list[bytes], bytes]:
        """An answer as a stream: what comes before its text, the text piece by piece, what comes after."""
        start = {**completion, "content": [], "stop_reason": None, "usage": {**completion["usage"], "output_tokens": 1}}
        said = []
        for index, block in enumerate(completion["content"]):
            text = block["text"] if block["type"] == "text" else json.dumps(block["input"])
            empty = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
            first = event({"type": "content_block_start", "index": index, "content_block": empty}, "content_block_start")
            parts = [self._piece(index, block["type"], piece) for piece in pieces(text, size)] or [b""]
            last = event({"type": "content_block_stop", "index": index}, "content_block_stop")
            said += [first + parts[0], *parts[1:-1], parts[-1] + last] if len(parts) > 1 else [first + parts[0] + last]
        after = event({"type": "message_delta", "delta": {"stop_reason": completion["stop_reason"]}, "usage": completion["usage"]}, "message_delta")
        return event({"type": "message_start", "message": start}, "message_start"), said, after + event({"type": "message_stop"}, "message_stop")

    @staticmethod
    def _piece(index: int, kind: str, piece: str) -> bytes:
        delta = {"type": "text_delta", "text": piece} if kind == "text" else {"type": "input_json_delta", "partial_json": piece}
        return event({"type": "content_block_delta", "index": index, "delta": delta}, "content_block_delta")

    def refusal(self, status: int, message: str, code: str | None) -> dict[str, Any]:
        return {"type": "error", "error": {"type": code or _KINDS.get(status, "api_error"), "message": message}}


def _content(answer: Answer, number: int) -> tuple[list[dict[str, Any]], str]:
    match answer:
        case Text(text):
            return [{"type": "text", "text": text}], "end_turn"
        case Refusal(text):
            return [{"type": "text", "text": text}], "refusal"
        case Output(value):
            return _content(ToolCalls((OUTPUT_TOOL, value)), number)
        case ToolCalls(calls):
            used = [{"type": "tool_use", "id": f"toolu_{number}_{place}", "name": name, "input": args} for place, (name, args) in enumerate(calls)]
            return used, "tool_use"
    raise TypeError(f"{answer} is not an answer")


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block.get("text", json.dumps(block)) for block in content)


@asynccontextmanager
async def anthropic_server(*, latency: float = 0.0) -> AsyncIterator[AnthropicServer]:
    """A running server on a free port; closed at the end."""
    async with serving(AnthropicServer(latency=latency)) as server:
        yield server
