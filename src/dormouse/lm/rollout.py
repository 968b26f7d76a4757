"""Write several responses to each prompt, for training on them, and keep the probability of every token drawn."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

import torch

from dormouse.errors import UserError
from dormouse.lm.chat import Messages, encode_prompts, text_of
from dormouse.lm.decode import decode
from dormouse.lm.model import LM
from dormouse.lm.trie import Tokens


@dataclass(frozen=True)
class SampledCompletion:
    """A sampled response. `tokens.response` holds the end token where it is finished, `logprobs` one number a token.

    They are those of the model as it was then: of its own distribution, whatever the temperature of the draw.
    """

    tokens: Tokens
    text: str
    finished: bool
    logprobs: tuple[float, ...]


class Sampler(Protocol):
    """Writes `group` responses to each prompt, of at most `max_tokens` tokens, with a model as it is at the moment.

    Returns (prompts, group). The same seed gives the same responses.
    """

    def __call__(
        self,
        lm: LM,
        prompts: Sequence[Messages],
        group: int,
        max_tokens: int,
        seed: int,
        temperature: float = 1.0,
    ) -> list[list[SampledCompletion]]: ...


def sampler(backend: Literal["own", "vllm"] = "own") -> Sampler:
    """The way to write rollouts: this project's loop, or vLLM on a GPU.

    Raises:
        UserError: vllm is not installed.
    """
    return rollouts if backend == "own" else VLLM()


def rollouts(
    lm: LM, prompts: Sequence[Messages], group: int, max_tokens: int, seed: int, temperature: float = 1.0
) -> list[list[SampledCompletion]]:
    """A `Sampler`. A prompt is read once and its cache repeated for its group; what is finished leaves the batch."""
    _check(group, max_tokens, temperature)
    ids = [prompt for prompt in encode_prompts(lm, prompts) for _ in range(group)]
    written = decode(lm, ids, max_tokens, seed=seed, temperature=temperature)
    found = [_rolled(lm, prompt, one.ids, one.logprobs) for prompt, one in zip(ids, written, strict=True)]
    return [found[start : start + group] for start in range(0, len(found), group)]


def _check(group: int, max_tokens: int, temperature: float) -> None:
    if group < 1 or max_tokens < 1 or not temperature > 0:
        raise ValueError("the group, the tokens of a response and the temperature must be larger than zero")


def _rolled(lm: LM, prompt: tuple[int, ...], ids: tuple[int, ...], logprobs: tuple[float, ...]) -> SampledCompletion:
    return SampledCompletion(Tokens(prompt, ids), text_of(lm, ids), bool(ids) and ids[-1] in lm.ends, logprobs)


class VLLM:
    """A `Sampler` that has vLLM write, in this process and on the GPU of the training, after giving it the new weights.

    Written from vLLM's documentation and from TRL's use of it. Nobody has run it on a GPU here: tests have a stand-in
    for vLLM.

    Args:
        memory: the share of the GPU's memory that vLLM may take.

    Raises:
        UserError: vllm is not installed.
    """

    def __init__(self, memory: float = 0.3) -> None:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # else the weights lie in another process
        try:
            vllm: Any = import_module("vllm")
        except ImportError:
            raise UserError(
                "vllm is not installed", "pip install vllm on a machine with a GPU, or leave rollouts to 'own'"
            ) from None
        self.vllm, self.memory, self.engine = vllm, memory, None

    def __call__(
        self, lm: LM, prompts: Sequence[Messages], group: int, max_tokens: int, seed: int, temperature: float = 1.0
    ) -> list[list[SampledCompletion]]:
        _check(group, max_tokens, temperature)
        ids = encode_prompts(lm, prompts)
        settings = [
            self.vllm.SamplingParams(
                n=group,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=(seed * 1_000_003 + i) % 2**63,
                logprobs=0,  # of the chosen token alone
                stop_token_ids=sorted(lm.ends),
                skip_special_tokens=False,
            )
            for i in range(len(ids))
        ]
        asked = [{"prompt_token_ids": list(prompt)} for prompt in ids]
        answers = self._up_to_date(lm).generate(asked, settings, use_tqdm=False)
        return [
            [self._rolled(lm, prompt, output) for output in answer.outputs]
            for prompt, answer in zip(ids, answers, strict=True)
        ]

    @staticmethod
    def _rolled(lm: LM, prompt: tuple[int, ...], output: Any) -> SampledCompletion:
        ids = tuple(output.token_ids)
        return _rolled(lm, prompt, ids, tuple(at[i].logprob for at, i in zip(output.logprobs, ids, strict=True)))

    def _up_to_date(self, lm: LM) -> Any:
        """The engine, made at the first call, with the weights as they are."""
        if self.engine is None:
            with tempfile.TemporaryDirectory() as folder:
                plain = lm.model.get_base_model() if hasattr(lm.model, "peft_config") else lm.model
                plain.save_pretrained(folder, state_dict=dict(merged_weights(lm)))
                lm.tokenizer.save_pretrained(folder)
                self.engine = self.vllm.LLM(
                    model=folder, dtype=str(lm.model.dtype).split(".")[1], gpu_memory_utilization=self.memory
                )
            return self.engine
        worker = self.engine.llm_engine.model_executor.driver_worker
        worker.model_runner.model.load_weights(merged_weights(lm))
        self.engine.reset_prefix_cache()
        return self.engine


def merged_weights(lm: LM) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights of a model by the names that it has without an adapter; the adapter is added to copies of them."""
    from peft.tuners.lora import LoraLayer

    changes: dict[str, Any] = {
        f"{name}.base_layer.weight": module
        for name, module in lm.model.named_modules()
        if isinstance(module, LoraLayer)
    }
    for name, weight in lm.model.named_parameters():
        if "lora_" in name:
            continue
        merged = weight.detach()
        if module := changes.get(name):
            (adapter,) = module.active_adapters
            merged = (merged.float() + module.get_delta_weight(adapter).detach().float()).to(weight.dtype)
        yield name.removeprefix("base_model.model.").replace(".base_layer", ""), merged
