"""What every part of the definition language has in common."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base of every part of a definition: unknown keys are errors, nothing is converted silently, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
