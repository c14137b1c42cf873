"""The answer's shape: from an agent's `output` schema to what a model is asked for, and back."""

import json
from functools import lru_cache
from typing import Any

from pydantic_ai import ModelRetry, StructuredDict, TextOutput
from pydantic_ai.exceptions import UserError

from runtime.definition.schemas import check_value
from runtime.errors import Problem

MAX_PROBLEMS = 10
"""So many problems of an answer are shown to the model when it is asked again."""


class Shape:
    """How an answer is asked for, checked and unpacked.

    Objects are asked for as they are; any other value within `{"value": …}`, because models answer with objects; a schema that refers to
    itself goes into the instructions, and the answer is JSON text.
    """

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self.instructions = ""
        self._wrapped = False
        self.output_type: Any = str if schema is None else self._type()

    async def check(self, answer: Any) -> Any:
        """The output itself. Raises ModelRetry, which names the problems to the model, when it does not satisfy the schema.

        Asynchronous, because pydantic-ai calls anything else in a thread.
        """
        if self.schema is None:
            return answer
        if self._wrapped:
            if not isinstance(answer, dict) or "value" not in answer:
                raise ModelRetry("put the answer into the field 'value'")
            answer = answer["value"]
        if problems := check_value(self.schema, answer):
            raise ModelRetry("the answer does not satisfy its schema:\n" + sentences(problems))
        return answer

    def _type(self) -> Any:
        asked = self.schema
        if not (isinstance(asked, dict) and asked.get("type") == "object"):
            self._wrapped = True
            asked = {"type": "object", "properties": {"value": self.schema}, "required": ["value"], "additionalProperties": False}
            if isinstance(self.schema, dict) and "$defs" in self.schema:
                asked["$defs"] = self.schema["$defs"]
        if all(reference.startswith("#/$defs/") for reference in _references(self.schema)):
            try:
                return StructuredDict(asked, name="answer")
            except UserError:  # the schema refers to itself
                pass
        self._wrapped = False
        self.instructions = f"Answer with JSON alone, no other text, that satisfies this JSON Schema:\n{json.dumps(self.schema)}"
        return TextOutput(parse_json)


@lru_cache(maxsize=256)
def shape_of(canonical: str) -> Shape:
    """The shape for a schema given as canonical JSON text, `null` for plain text."""
    return Shape(json.loads(canonical))


async def parse_json(text: str) -> Any:
    """The JSON of a text answer, out of a code fence if it stands in one. Raises ModelRetry."""
    inner = text.strip()
    if inner.startswith("```"):
        inner = inner.partition("\n")[2].rpartition("```")[0]
    try:
        return json.loads(inner)
    except ValueError as error:
        raise ModelRetry(f"the answer is not JSON: {error}") from error


def sentences(problems: list[Problem]) -> str:
    """The first problems, one a line, for a model to read."""
    shown = [f"{problem.pointer or '/'}: {problem.detail}" for problem in problems[:MAX_PROBLEMS]]
    return "\n".join([*shown, "…"] if len(problems) > MAX_PROBLEMS else shown)


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [found for part in schema for found in _references(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [found for part in schema.values() for found in _references(part)]
