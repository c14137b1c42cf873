"""Asking a model so that its text can be read while it is written. The answer is the same as that of a plain request."""

from typing import Any, Literal

from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ThinkingPart,
    ThinkingPartDelta,
    ToolCallPart,
    ToolCallPartDelta,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from runtime.agents.bounded import streamed
from runtime.deltas.voice import Speaker, Voice
from runtime.errors import StepFailed

MAX_STREAMED = 4 * 2**20
"""Characters of a streamed answer, more than any model writes: while it grows, the SDKs hold it several times over."""
Wanted = bool | Literal["auto"]


class Streaming:
    """How the requests of one attempt are made: as streams when somebody listens, or when the step says so."""

    def __init__(self, speaker: Speaker | None, wanted: Wanted, *, structured: bool) -> None:
        """`structured`: the answer is JSON."""
        self._speaker, self._wanted, self._structured = speaker, wanted, structured
        self._voice: Voice | None = None
        self._call = 0

    async def ask(
        self, model: Model, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters, *, call: int
    ) -> ModelResponse:
        """The model's answer; `call` is the number of this call. Raises what `model` raises, and StepFailed."""
        self.void("asked_again", call=call)
        self._voice, self._call = None, call
        if self._speaker is None or not (self._speaker.followed if self._wanted == "auto" else self._wanted):
            return await model.request(messages, settings, parameters)
        voice = self._voice = self._speaker.voice(call, json=self._structured)
        answers = {tool.name for tool in parameters.output_tools}
        hearing = Hearing(voice, answers, text=not (self._structured and answers))
        token = streamed.set(True)
        try:
            async with model.request_stream(messages, settings, parameters) as stream:
                async for event in stream:
                    hearing.take(event)
            response = stream.get()
        finally:
            streamed.reset(token)
            voice.end()
        if not _complete(response):
            raise StepFailed("provider_unavailable", "the answer broke off before its end")
        return response

    def void(self, because: str, *, call: int) -> None:
        """What this call has said so far, if anything, is not going to be its answer. `because`: an error's code."""
        if self._voice is not None and self._call == call:
            self._voice.drop(because)
            self._voice = None


class Hearing:
    """Picks out of a stream what readers want: the text, or the JSON of the answer."""

    def __init__(self, voice: Voice, answers: set[str], *, text: bool) -> None:
        """`answers`: names of the tools by which an answer is given. `text`: whether text counts, or they alone."""
        self._voice, self._answers, self._text = voice, answers, text
        self._answer: int | None = None
        """Which part of the response is the answer; of several, the first."""
        self._size = 0

    def take(self, event: ModelResponseStreamEvent) -> None:
        """Say what is new. Raises StepFailed `response_too_large`."""
        match event:
            case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                self._heard(text, said=self._text)
            case PartStartEvent(part=ToolCallPart(tool_name=name, args=args), index=index):
                if self._answer is None and name in self._answers:
                    self._answer = index
                self._heard(_text(args), said=index == self._answer)
            case PartDeltaEvent(delta=ToolCallPartDelta(args_delta=args), index=index):
                self._heard(_text(args), said=index == self._answer)
            case PartStartEvent(part=ThinkingPart(content=thought)) | PartDeltaEvent(delta=ThinkingPartDelta(content_delta=thought)):
                self._heard(thought or "", said=False)
            case _:
                pass

    def _heard(self, text: str, *, said: bool) -> None:
        self._size += len(text)
        if self._size > MAX_STREAMED:
            raise StepFailed("response_too_large", f"the provider's answer has more than {MAX_STREAMED} characters", retryable=False)
        if said and text:
            self._voice.say(text)


def _text(args: Any) -> str:
    """The piece of a call's arguments. Some SDKs give them parsed, at the end: those are not shown before the answer is there."""
    return args if isinstance(args, str) else ""


def _complete(response: ModelResponse) -> bool:
    """Whether the provider has said how its answer ended; a stream that just stops looks like any other to its reader."""
    return response.finish_reason == "content_filter" or bool((response.provider_details or {}).get("finish_reason"))
