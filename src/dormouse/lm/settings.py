"""How to train, as a study file says it. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from keyword import iskeyword
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

Optimiser = Literal["adamw", "sgd", "muon", "soap"]

QUANTISED = re.compile(r"(load_in_)?(4|8)[-_ ]?bits?|u?int[48]|nf4|fp[48]|q[48]\w*|bitsandbytes|bnb")


def plain_type(value: Any) -> Any:
    """A type in which models compute, as it was given.

    Raises:
        ValueError: it asks for quantised weights.
    """
    if isinstance(value, str) and QUANTISED.fullmatch(value.lower()):
        raise ValueError(
            "quantised bases (4 and 8 bits) are not computed with: adapters are merged into plain weights here; say "
            "bfloat16, and lay an adapter that was trained on a quantised model on the plain one"
        )
    return value


Dtype = Annotated[Literal["auto", "float32", "bfloat16"], BeforeValidator(plain_type)]

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


def device_name(value: str) -> str:
    """A device as torch names it.

    Raises:
        ValueError: it is none on which models are measured.
    """
    if value == "mps":
        raise ValueError("the accelerator of Apple has no float64, in which exact rates are summed: say cpu, or auto")
    if not DEVICE.fullmatch(value):
        raise ValueError("a device is auto, cpu, cuda, or a certain GPU: cuda:1")
    return value


DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,2})?")
DeviceName = Annotated[str, AfterValidator(device_name)]


@dataclass(frozen=True)
class Computing:
    """In which type models compute, and on which device, where a study says it."""

    dtype: Dtype = "auto"
    device: str = "auto"

    def said(self) -> dict[str, str]:
        """What of it numbers depend on, as far as it is said: which of several GPUs does not matter."""
        kind = self.device.partition(":")[0]
        return {key: value for key, value in {"dtype": self.dtype, "device": kind}.items() if value != "auto"}


AUTO = Computing()


TEMPLATE_OWN = {"conversation", "messages", "tools", "documents", "chat_template", "add_generation_prompt", "tokenize"}
TEMPLATE_OWN |= {"continue_final_message", "padding", "truncation", "max_length", "return_tensors", "return_dict"}
TEMPLATE_OWN |= {"return_assistant_tokens_mask", "tokenizer_kwargs"}
TEMPLATE_OWN |= {"strftime_now", "date_string", "sanitize_control_tokens"}
"""What a study may not give to a chat template: what dormouse gives itself, or what is transformers' own."""
CONSTANTS = {"true", "false", "none"}


def not_ours(given: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What a chat template is given beside what every one is.

    Raises:
        PydanticCustomError: one of it is not a study's to give.
    """
    if ours := sorted(TEMPLATE_OWN & given.keys()):
        said = "not a template's to be told; the date is `today`, the rest is dormouse's own"
        raise PydanticCustomError("template", "{said}", {"at": (ours[0],), "said": said})
    if odd := next((name for name in given if not name.isidentifier() or iskeyword(name) or name in CONSTANTS), None):
        said = "no name of a variable, so no template can read it"
        raise PydanticCustomError("template", "{said}", {"at": (odd,), "said": said})
    return given


TemplateSettings = Annotated[dict[str, JsonValue], AfterValidator(not_ours)]
"""Settings of chat templates, `enable_thinking: false` say."""


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
