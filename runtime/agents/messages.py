"""What was said, in a form of our own that every provider understands and no library's release changes.

A message is `{role: user, content, attachments?: [{name, media_type}]}`, `{role: assistant, content, tool_calls?: [{id, name, arguments}]}`
or `{role: tool, content, tool_call_id, name}`; `content` is text. Tries that were corrected are not told, and a structured answer is its JSON.
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from runtime.definition.schemas import check_value
from runtime.errors import StepFailed

MAX_MESSAGES = 1_000
MAX_HISTORY_BYTES = 2**20
"""Of the JSON of all messages that come before a prompt."""
MAX_EXCHANGE_BYTES = 48 * 2**10
"""Of what one step adds to a conversation: less than the journal holds without the artifact store, which forgets with the run."""
KEPT_CHARACTERS = 500
CUT = " […]"

_CALL = {
    "type": "object",
    "required": ["id", "name", "arguments"],
    "properties": {"id": {"type": "string", "minLength": 1}, "name": {"type": "string", "minLength": 1}, "arguments": {"type": "object"}},
}
_TEXT = {"content": {"type": "string"}}
_SCHEMA = {
    "type": "array",
    "maxItems": MAX_MESSAGES,
    "items": {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"enum": ["user", "assistant", "tool"]}, **_TEXT},
        "oneOf": [
            {"properties": {"role": {"const": "user"}, **_TEXT, "attachments": {"type": "array"}}, "additionalProperties": False},
            {
                "properties": {"role": {"const": "assistant"}, **_TEXT, "tool_calls": {"type": "array", "items": _CALL}},
                "additionalProperties": False,
            },
            {
                "properties": {"role": {"const": "tool"}, **_TEXT, "tool_call_id": {"type": "string"}, "name": {"type": "string"}},
                "required": ["tool_call_id", "name"],
                "additionalProperties": False,
            },
        ],
    },
}


def checked_history(value: Any) -> list[dict[str, Any]]:
    """The messages that come before a prompt; none when `value` is null. Raises StepFailed `history_invalid`, never retryable.

    There are no `system` messages: what a model is to obey stands in `instructions`, which no input can change.
    """
    if value is None:
        return []
    if problems := check_value(_SCHEMA, value):
        raise _invalid(f"{problems[0].pointer or '/'}: {problems[0].detail}")
    if len(to_json(value)) > MAX_HISTORY_BYTES:
        raise _invalid(f"there are more than {MAX_HISTORY_BYTES} bytes of messages")
    _check_calls(value)
    messages: list[dict[str, Any]] = value
    return messages


def _check_calls(messages: Sequence[dict[str, Any]]) -> None:
    """Providers refuse a tool's answer that nobody asked for, and a call that is not answered before somebody else speaks."""
    open_: set[str] = set()
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_:
                raise _invalid(f"/{at}: no open tool call is called '{message['tool_call_id'][:50]}'")
            open_.discard(message["tool_call_id"])
        elif open_:
            raise _invalid(f"/{at}: the tool call '{sorted(open_)[0][:50]}' has no answer")
        else:
            open_ = {call["id"] for call in message.get("tool_calls", ())}
    if open_:
        raise _invalid(f"the tool call '{sorted(open_)[0][:50]}' has no answer")


def said_by_user(prompt: str, attachments: Sequence[dict[str, str]]) -> dict[str, Any]:
    """The message a step begins with; `attachments` are `{name, media_type}`, for their content is not told again."""
    return {"role": "user", "content": prompt, **({"attachments": list(attachments)} if attachments else {})}


def answered(output: Any) -> dict[str, Any]:
    """The message a step ends with."""
    return {"role": "assistant", "content": output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)}


def shortened(messages: Sequence[dict[str, Any]], most: int = MAX_EXCHANGE_BYTES) -> list[dict[str, Any]]:
    """The messages in at most about `most` bytes of JSON: the longest texts are cut, those of tools first. Arguments of calls go last."""
    told = [dict(message) for message in messages]
    for roles in (("tool",), ("user", "assistant")):
        while (excess := len(to_json(told)) - most) > 0:
            longest = max((message for message in told if message["role"] in roles), key=lambda message: len(message["content"]), default=None)
            if longest is None or len(longest["content"]) <= KEPT_CHARACTERS + len(CUT):
                break
            # At most half at a time: a character may be several bytes, and others may be as long.
            long = len(longest["content"])
            longest["content"] = longest["content"][: max(KEPT_CHARACTERS, long // 2, long - excess - len(CUT))] + CUT
    if len(to_json(told)) > most:
        told = [told[0], told[-1]] if len(told) > 1 else told
    return told


def as_text(message: dict[str, Any]) -> str:
    """What a user wrote, with a line for each attachment that was shown then."""
    shown = [one for one in message.get("attachments", ()) if isinstance(one, dict)]
    lines = [f"[{one.get('name', 'attachment')}, {one.get('media_type', 'file')}, was shown here]" for one in shown]
    return "\n".join([message["content"], *lines])


def _invalid(why: str) -> StepFailed:
    return StepFailed("history_invalid", f"these messages cannot come before a prompt: {why}"[:1000], retryable=False)
