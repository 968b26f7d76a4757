"""How to train, as a study file says it. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Optimiser = Literal["adamw", "sgd", "muon", "soap"]

REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,200}")


def model_name(value: Any) -> Any:
    """A model as one word: `{name: org/model, revision: v1.0}` is `org/model@v1.0`."""
    if not isinstance(value, Mapping):
        return value
    if set(value) - {"name", "revision"} or not isinstance(value.get("name"), str):
        raise ValueError("a model is a name, or {name: org/model, revision: BRANCH, TAG OR COMMIT}")
    revision = value.get("revision")
    if revision is None:
        return value["name"]
    if isinstance(revision, bool | float) or not REVISION.fullmatch(str(revision)):
        raise ValueError("a revision is a branch, a tag or a commit of the model; put one of digits alone in quotes")
    return f"{value['name']}@{revision}"


ModelName = Annotated[str, BeforeValidator(model_name), Field(min_length=1)]
"""A name of `dormouse models`, an id of the hub (with a revision, if one is wanted), or a folder."""


class Training(BaseModel):
    """Settings of the one loop: linear warm-up over a share of the budget, then linear decay to zero.

    The optimisers are described in `lm.optimisers`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1, le=1_000_000)
    """The most steps."""
    tokens: int | None = Field(None, ge=1)
    """The most trained tokens, those of responses. The first step that reaches it is the last."""
    lr: float = Field(gt=0, le=1)
    method: Literal["lora", "full"] = "lora"
    rank: int = Field(16, ge=1, le=1024)
    optimiser: Optimiser = "adamw"
    warmup: float = Field(0.1, ge=0, le=1)
    clip: float = Field(1.0, gt=0)
