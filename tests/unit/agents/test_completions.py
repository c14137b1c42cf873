"""A chat completion sent as given is what the SDK itself would have sent."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIChatModelSettings
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition

from runtime.agents.completions import send_as_given

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12},
}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
CHUNKS = [
    CHUNK | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "ye"}, "finish_reason": None}]},
    CHUNK | {"choices": [{"index": 0, "delta": {"content": "s"}, "finish_reason": "stop"}]},
    CHUNK | {"choices": [], "usage": ANSWER["usage"]},
]
STREAMED = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS) + "data: [DONE]\n\n"
ASKED: list[ModelMessage] = [ModelRequest(parts=[SystemPromptPart("be brief"), UserPromptPart("the question, with ü")])]
TALK: list[ModelMessage] = [
    *ASKED,
    ModelResponse(parts=[TextPart("let me see"), ToolCallPart("weather", {"city": "Ulm"}, "call-1")]),
    ModelRequest(parts=[ToolReturnPart("weather", {"degrees": [1.5, None]}, "call-1")]),
]
PICTURE: list[ModelMessage] = [ModelRequest(parts=[UserPromptPart(["what is it?", BinaryContent(b"\x89PNG", media_type="image/png")])])]
TOOLS = ModelRequestParameters(function_tools=[ToolDefinition(name="weather", parameters_json_schema=SCHEMA, description="of a city")])
NATIVE = ModelRequestParameters(output_mode="native", output_object=OutputObjectDefinition(json_schema=SCHEMA, name="place"))
SETTINGS = OpenAIChatModelSettings(
    max_tokens=7,
    temperature=0.5,
    stop_sequences=["end"],
    timeout=3.0,
    seed=4,
    top_p=None,
    extra_headers={"X-One": "1"},
    extra_body={"further": True},
    logit_bias={"5": 1},
)
CASES = [
    (ASKED, None, ModelRequestParameters()),
    (ASKED, SETTINGS, ModelRequestParameters()),
    (TALK, SETTINGS, TOOLS),
    (PICTURE, None, NATIVE),
]


async def seen(messages: list[ModelMessage], settings: Any, parameters: ModelRequestParameters, *, as_given: bool, stream: bool, status: int) -> Any:
    """The request as it goes out, and what comes of it."""
    requests: list[Any] = []

    async def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {name: value for name, value in request.headers.items() if not name.startswith("x-stainless")}
        requests.append((request.method, str(request.url), headers, json.loads(await request.aread()), request.extensions.get("timeout")))
        if stream and status == 200:
            return httpx2.Response(200, text=STREAMED, headers={"Content-Type": "text/event-stream"})
        return httpx2.Response(status, json=ANSWER if status == 200 else {"error": {"message": "no", "code": "bad"}})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as client:
        sdk = AsyncOpenAI(base_url="http://model.test/v1", api_key="key", http_client=client, max_retries=0)
        if as_given:
            send_as_given(sdk)
        model = OpenAIChatModel("m", provider=OpenAIProvider(openai_client=sdk))
        try:
            if stream:
                async with model.request_stream(messages, settings, parameters) as streamed:
                    events: Any = [event async for event in streamed]
                    found: Any = ("answered", events, streamed.usage, streamed.finish_reason)
            else:
                said = await model.request(messages, settings, parameters)
                found = ("answered", dataclasses.replace(said, timestamp=datetime.fromtimestamp(0, UTC)))
        except ModelHTTPError as error:
            found = ("refused", error.status_code, error.body)
    return requests, found


@pytest.mark.parametrize("status", [200, 429])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("messages", "settings", "parameters"), CASES, ids=["plain", "settings", "tools", "picture"])
async def test_the_same_goes_out(messages: list[ModelMessage], settings: Any, parameters: ModelRequestParameters, *, stream: bool, status: int) -> None:
    usual = await seen(messages, settings, parameters, as_given=False, stream=stream, status=status)
    assert len(usual[0]) == 1
    assert usual[1][0] == ("answered" if status == 200 else "refused")
    assert await seen(messages, settings, parameters, as_given=True, stream=stream, status=status) == usual
