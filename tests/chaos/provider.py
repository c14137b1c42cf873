"""The model of the trials: OpenAI's chat completions, with answers that follow from the prompt and faults that stand in it.

A prompt may carry `[[script: KIND option=value x3]]`: the first three requests of that prompt are treated by the script of that kind, later
ones get the true answer. KIND is an HTTP status (with `retry_after=…`) or a name in `SCRIPTS`, to which other modules add.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.chaos.values import SCRIPT, TAG, answer_value


@dataclass(frozen=True)
class Directive:
    """What one prompt asks the wire to do."""

    kind: str
    options: dict[str, str] = field(default_factory=dict)
    times: int = 1


Script = Callable[[web.Request, Directive, dict[str, Any]], Awaitable[web.StreamResponse]]
"""From the request, the directive and the true answer (a chat completion) to what goes over the wire."""
SCRIPTS: dict[str, Script] = {}


def script(kind: str) -> Callable[[Script], Script]:
    """Register a kind of fault: `@script("truncated")`."""

    def register(carry_out: Script) -> Script:
        SCRIPTS[kind] = carry_out
        return carry_out

    return register


def directives(prompt: str) -> list[Directive]:
    """All of a prompt's, in order: the first one's times first, then the next one's."""
    found = []
    for match in SCRIPT.finditer(prompt):
        options = dict(option.split("=", 1) for option in match["options"].split())
        found.append(Directive(match["kind"], options, int(match["times"] or 1)))
    return found


class Provider:
    """`told` keeps a line of every request on disk before it is answered."""

    def __init__(self, told: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._told = told
        self._seen: Counter[str] = Counter()

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/chat/completions"""
        body = await request.json()
        prompt = prompt_of(body)
        tag = TAG.search(prompt)
        number = self._seen[prompt] = self._seen[prompt] + 1
        chosen = _chosen(directives(prompt), number)
        await self._told({"kind": "model", "tag": tag["tag"] if tag else None, "number": number, "script": chosen.kind if chosen else None})
        answer = completion(body, prompt, number)
        if chosen is None:
            return web.json_response(answer)
        if chosen.kind.isdigit():
            return await _status(chosen)
        return await SCRIPTS[chosen.kind](request, chosen, answer)


def _chosen(asked: list[Directive], number: int) -> Directive | None:
    for directive in asked:
        if number <= directive.times:
            return directive
        number -= directive.times
    return None


async def _status(directive: Directive) -> web.Response:
    headers = {"Retry-After": directive.options["retry_after"]} if "retry_after" in directive.options else {}
    body = {"error": {"message": "scripted", "type": "error", "code": directive.options.get("code")}}
    return web.json_response(body, status=int(directive.kind), headers=headers)


@script("slow")
async def _slow(_request: web.Request, directive: Directive, answer: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(float(directive.options.get("seconds", 1)))
    return web.json_response(answer)


def prompt_of(body: dict[str, Any]) -> str:
    """The text of the last message a user wrote."""
    texts = [message.get("content") for message in body["messages"] if message["role"] == "user"]
    last = texts[-1] if texts else ""
    return last if isinstance(last, str) else "".join(part.get("text", "") for part in last or [])


def completion(body: dict[str, Any], prompt: str, number: int) -> dict[str, Any]:
    """The true answer: a number for each field that is asked for, or a sentence with it."""
    value = answer_value(prompt)
    tools = body.get("tools") or []
    if tools:
        function = tools[0]["function"]
        fields = function["parameters"].get("properties", {})
        call = {"name": function["name"], "arguments": json.dumps(dict.fromkeys(fields, value))}
        message = {"role": "assistant", "content": None, "tool_calls": [{"id": f"call_{number}", "type": "function", "function": call}]}
    else:
        message = {"role": "assistant", "content": f"The answer is {value}."}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1_750_000_000,
        "model": body.get("model", "witness"),
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if tools else "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }
