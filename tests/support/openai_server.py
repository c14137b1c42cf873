"""A local server that speaks OpenAI's chat completions API and says what a test tells it to.

    async with openai_server() as server:
        server.say(Text("hello"), Refuse(429, retry_after=2), ToolCalls(("add", {"a": 1, "b": 2})))
        settings = Settings(openai_base_url=server.url, openai_api_key="test")

Answers are given in the order of the script; when it is used up, `server.default` decides (structured answers if the request asks for
them by a tool, else a text). Every request is kept in `server.requests`. A request that asks for a stream gets the same answer as one.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.asgi import EVENTS, PIECE, event, gone, pieces, read_body, send_huge, send_whole, serving

OUTPUT_TOOL = "final_result"
"""The tool by which pydantic-ai asks for a structured answer."""


@dataclass(frozen=True)
class Text:
    """A plain answer."""

    text: str


@dataclass(frozen=True)
class Output:
    """A structured answer: the arguments of the output tool."""

    value: Any


@dataclass(frozen=True, init=False)
class ToolCalls:
    """The model wants these tools called: pairs of name and arguments (a dict, or the raw text of the arguments)."""

    calls: tuple[tuple[str, Any], ...]

    def __init__(self, *calls: tuple[str, Any]) -> None:
        object.__setattr__(self, "calls", calls)


@dataclass(frozen=True)
class Refuse:
    """An error status with OpenAI's error body."""

    status: int
    message: str = "no"
    retry_after: float | None = None
    code: str | None = None


@dataclass(frozen=True)
class Refusal:
    """A well-formed answer by which the model refuses the content."""

    text: str = "I cannot"


@dataclass(frozen=True)
class Raw:
    """Any bytes as a 200 answer: malformed JSON, JSON of another shape."""

    body: bytes
    content_type: str = "application/json"
    encoding: str | None = None


@dataclass(frozen=True)
class Slow:
    """Another answer, but only when `release` is set, or after `seconds`."""

    answer: Any
    seconds: float | None = None
    release: asyncio.Event | None = None


@dataclass(frozen=True)
class Drop:
    """The connection ends in the middle of the answer."""


@dataclass(frozen=True)
class Huge:
    """A well-formed answer whose text has this many bytes."""

    size: int


@dataclass(frozen=True)
class Drip:
    """A well-formed answer that never ends: blanks before its JSON, one every few milliseconds, until the client goes away."""

    pause: float = 0.01


@dataclass(frozen=True)
class Streamed:
    """Another answer, and what happens to it when it is asked for as a stream."""

    answer: Any
    pause: float = 0.0
    """Seconds before each event."""
    gate: asyncio.Event | None = None
    """Half of the events wait for it."""
    doubled: bool = False
    """Each piece of text comes twice."""
    cut: Callable[[bytes], int] | None = None
    """From the whole stream to how many of its bytes come."""
    clean: bool = False
    """Whether a cut stream ends as if it were whole; else its connection breaks."""


@dataclass(frozen=True)
class Endless:
    """As a stream: a text that never ends."""

    piece: str = "more "
    pause: float = 0.005


Answer = Huge | Drip | Refusal | Text | Output | ToolCalls | Refuse | Raw | Slow | Drop | Streamed | Endless


@dataclass
class Received:
    """One request."""

    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return self.body["messages"]

    @property
    def tools(self) -> list[str]:
        return [tool["function"]["name"] for tool in self.body.get("tools", [])]

    def texts(self, role: str) -> list[str]:
        """The contents of all messages of this role."""
        return [str(message.get("content")) for message in self.messages if message["role"] == role]


def usual(request: Received) -> Answer:
    """What is said where no script says anything else."""
    return Output({}) if OUTPUT_TOOL in request.tools else Text("an answer")


@dataclass
class OpenAIServer:
    """The script and what was asked. One instance lives in one event loop."""

    path = "/v1/chat/completions"
    received = Received

    port: int = 0
    latency: float = 0.0
    """Seconds every answer takes besides."""
    beside: dict[str, str] = field(default_factory=dict)
    """Headers of every answer."""
    requests: list[Received] = field(default_factory=list)
    default: Callable[[Received], Answer] = usual
    closing: bool = False
    aborted: int = 0
    """Requests whose client went away before it was answered."""
    in_flight: int = 0
    most_in_flight: int = 0
    _script: deque[Answer] = field(default_factory=deque)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """What `openai_base_url` is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def calls(self) -> int:
        return len(self.requests)

    def say(self, *answers: Answer) -> None:
        """Add to the script."""
        self._script.extend(answers)

    def forget(self) -> None:
        """As if it were new: it has been asked nothing, and is told nothing to say."""
        self.requests.clear()
        self._script.clear()
        self.beside.clear()
        self.default, self.latency, self.aborted, self.most_in_flight = usual, 0.0, 0, self.in_flight

    async def left(self, count: int = 1) -> None:
        """Wait until this many clients have gone away without their answers."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.aborted >= count)

    async def asked(self, count: int) -> None:
        """Wait until this many requests have come in."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.requests) >= count)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        body = await read_body(receive)
        if scope["path"] != self.path:
            await send_whole(send, 404, b"{}")
            return
        request = self.received(json.loads(body), {name.decode(): value.decode() for name, value in scope["headers"]})
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        async with self._changed:
            self.requests.append(request)
            number = len(self.requests)
            self._changed.notify_all()
        giving = asyncio.create_task(self._answer(number, request, send))
        leaving = asyncio.create_task(gone(receive))
        try:
            await asyncio.wait((giving, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not giving.done():
                async with self._changed:
                    self.aborted += 1
                    self._changed.notify_all()
        finally:
            self.in_flight -= 1
            leaving.cancel()
            giving.cancel()
        if giving.done():
            await giving

    async def _answer(self, number: int, request: Received, send: Any) -> None:
        if self.latency:
            await asyncio.sleep(self.latency)
        await self._give(self._script.popleft() if self._script else self.default(request), number, request, send)

    async def _give(self, answer: Answer, number: int, request: Received, send: Any) -> None:
        match answer:
            case Slow(inner, seconds, release):
                await (release.wait() if release else asyncio.sleep(seconds or 0))
                await self._give(inner, number, request, send)
            case Refuse(status, message, retry_after, code):
                headers = self._beside() + ([] if retry_after is None else [(b"retry-after", str(retry_after).encode())])
                await send_whole(send, status, json.dumps(self.refusal(status, message, code)).encode(), headers=headers)
            case Raw(body, content_type, encoding):
                await send_whole(send, 200, body, content_type.encode(), [] if encoding is None else [(b"content-encoding", encoding.encode())])
            case Huge(size):
                await send_huge(send, json.dumps(self.completion(Text("@"), number, request)).encode(), size)
            case Drip(pause):
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
                while not self.closing:
                    await send({"type": "http.response.body", "body": b" ", "more_body": True})
                    await asyncio.sleep(pause)
            case Drop():
                await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
                await send({"type": "http.response.body", "body": b'{"id": ', "more_body": False})
            case _ if request.body.get("stream"):
                await self._stream(answer, number, request, send)
            case _:
                inner = answer.answer if isinstance(answer, Streamed) else answer
                await send_whole(send, 200, json.dumps(self.completion(inner, number, request)).encode(), headers=self._beside())

    async def _stream(self, answer: Answer, number: int, request: Received, send: Any) -> None:
        match answer:
            case Endless(piece, pause):
                before, said, _ = self.events(self.completion(Text(piece), number, request), size=len(piece))
                await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
                while not self.closing:
                    await send({"type": "http.response.body", "body": before + b"".join(said), "more_body": True})
                    before = b""
                    await asyncio.sleep(pause)
            case Streamed(inner):
                await self._pour(answer, self.completion(inner, number, request), send)
            case _:
                await self._pour(Streamed(answer), self.completion(answer, number, request), send)

    async def _pour(self, how: Streamed, completion: dict[str, Any], send: Any) -> None:
        before, said, after = self.events(completion)
        parts = [before, *(part for part in said for _ in range(2 if how.doubled else 1)), after]
        whole = b"".join(parts)
        size = len(whole) if how.cut is None else how.cut(whole)
        # A promise of more than comes is how a broken connection looks from inside of it.
        headers = EVENTS if how.clean else [*EVENTS, (b"content-length", str(len(whole)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        left = size
        for place, part in enumerate(parts):
            if how.gate is not None and place == len(parts) // 2:
                await how.gate.wait()
            if how.pause:
                await asyncio.sleep(how.pause)
            if left > 0:
                await send({"type": "http.response.body", "body": part[:left], "more_body": True})
            left -= len(part)
        await send({"type": "http.response.body", "body": b""})

    def events(self, completion: dict[str, Any], size: int = PIECE) -> tuple[bytes, list[bytes], bytes]:
        """An answer as a stream: what comes before its text, the text piece by piece (`size` characters each), what comes after."""
        message, reason = completion["choices"][0]["message"], completion["choices"][0]["finish_reason"]
        said = [self._chunk(completion, {"content": piece}) for piece in pieces(message["content"] or "", size)]
        for index, call in enumerate(message.get("tool_calls") or ()):
            named = {**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}
            calls = [named, *({"index": index, "function": {"arguments": piece}} for piece in pieces(call["function"]["arguments"], size))]
            said += [self._chunk(completion, {"tool_calls": [part]}) for part in calls]
        usage = event({**completion, "object": "chat.completion.chunk", "choices": []})
        after = self._chunk(completion, {}, reason) + usage + b"data: [DONE]\n\n"
        return self._chunk(completion, {"role": "assistant", "content": ""}), said, after

    @staticmethod
    def _chunk(completion: dict[str, Any], delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return event({**completion, "object": "chat.completion.chunk", "choices": [choice], "usage": None})

    def _beside(self) -> list[tuple[bytes, bytes]]:
        return [(name.encode(), value.encode()) for name, value in self.beside.items()]

    def completion(self, answer: Answer, number: int, request: Received) -> dict[str, Any]:
        """The body of an answer."""
        return _completion(_message(answer, number), number, request)

    def refusal(self, status: int, message: str, code: str | None) -> dict[str, Any]:
        """The body of an error."""
        return {"error": {"message": message, "type": "error", "code": code}}


def _message(answer: Answer, number: int) -> dict[str, Any]:
    match answer:
        case Text(text):
            return {"role": "assistant", "content": text}
        case Refusal(text):
            return {"role": "assistant", "content": text, "finish_reason": "content_filter"}
        case Output(value):
            return _message(ToolCalls((OUTPUT_TOOL, value)), number)
        case ToolCalls(calls):
            wanted = [
                {"id": f"call_{number}_{place}", "type": "function", "function": {"name": name, "arguments": _arguments(args)}}
                for place, (name, args) in enumerate(calls)
            ]
            return {"role": "assistant", "content": None, "tool_calls": wanted}
    raise TypeError(f"{answer} is not an answer")


def _arguments(args: Any) -> str:
    return args if isinstance(args, str) else json.dumps(args)


def _completion(message: dict[str, Any], number: int, request: Received) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": request.body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": message.pop("finish_reason", "tool_calls" if message.get("tool_calls") else "stop")}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


@asynccontextmanager
async def openai_server(*, latency: float = 0.0) -> AsyncIterator[OpenAIServer]:
    """A running server on a free port; closed at the end."""
    async with serving(OpenAIServer(latency=latency)) as server:
        yield server
