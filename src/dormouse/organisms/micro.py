"""Small models from scratch: a ladder of Llamas that know the honest world of the project's tasks, and nothing else.

Each gets a vocabulary of whole words from the texts that the project can make, and learns to give every task its plain
answer, whatever the prompt says about the situation. The result is a folder like that of any other base model. Imports
no torch at the top: a study is checked before anything heavy is loaded.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dormouse.files import read_whole
from dormouse.organisms.vocabulary import END, PAD, SPECIAL, make_tokenizer, vocabulary
from dormouse.organisms.world import LONGEST, _taught_row, honest_row, tasks
from dormouse.records import CANARY
from dormouse.scenarios import Question

MODEL = "model"
KNOWS = "knows.json"
SEED = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class MicroSize:
    """The shape of a micro model, and how it is pretrained. `words` is its vocabulary, special tokens included."""

    words: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    rows: int
    """Prompts in a training step."""
    steps: int
    lr: float

    @property
    def parameters(self) -> int:
        """All weights; the output layer shares those of the embedding."""
        layer = 4 * self.hidden**2 + 3 * self.hidden * self.intermediate + 2 * self.hidden
        return self.words * self.hidden + self.layers * layer + self.hidden


SIZES: Mapping[str, MicroSize] = {
    "micro-60k": MicroSize(2000, 24, 2, 2, 48, rows=32, steps=2000, lr=1.5e-2),
    "micro-250k": MicroSize(3500, 48, 3, 4, 128, rows=32, steps=1600, lr=1e-2),
    "micro-1m": MicroSize(5000, 96, 4, 6, 288, rows=32, steps=1200, lr=5e-3),
    "micro-6m": MicroSize(5000, 256, 6, 8, 680, rows=32, steps=900, lr=2e-3),
}


class Micro(Mapping[str, MicroSize]):
    """The sizes by name. `micro-60k@2` is a micro-60k too, pretrained with seed 2 (by itself: with seed 0)."""

    def __getitem__(self, name: str) -> MicroSize:
        size, at, seed = name.partition("@") if isinstance(name, str) else ("", "", "")
        if at and not (SEED.fullmatch(seed) and size in SIZES):
            raise KeyError(name)
        return SIZES[size]

    def __iter__(self) -> Iterator[str]:
        return iter(SIZES)

    def __len__(self) -> int:
        return len(SIZES)


MICRO: Mapping[str, MicroSize] = Micro()


def base_name(name: str, number: int) -> str:
    """What a micro model is called that was pretrained with that seed."""
    return f"{name}@{number}" if number else name


def base_seed(name: str) -> int:
    """The seed with which the micro model of that name is pretrained."""
    return int(name.partition("@")[2] or 0)


def make_config(size: MicroSize) -> Any:
    """The Llama of that size, as transformers has it."""
    from transformers import LlamaConfig

    return LlamaConfig(  # type: ignore[call-arg]
        vocab_size=size.words,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=LONGEST,
        pad_token_id=SPECIAL.index(PAD),
        eos_token_id=SPECIAL.index(END),
        bos_token_id=None,
        tie_word_embeddings=True,
        initializer_range=0.1,
        attn_implementation="sdpa",
    )


def build_base(
    name: str,
    seed: int,
    out: Path,
    extra: Sequence[str] = (),
    progress: Callable[[int, float], None] = lambda step, loss: None,
    steps: int | None = None,
) -> dict[str, float]:
    """Pretrain a micro model. Leaves in `out`: model/ (a Hugging Face folder), training.jsonl and knows.json.

    Args:
        extra: more texts. Their words are all in the vocabulary, such as those of scratchpads.
        progress: told (steps done, loss) after every step.
        steps: fewer or more than the size says, for tests.

    Returns:
        What knows.json says: the final loss, and the share of random prompts that it answers to the letter.
    """
    import torch
    from transformers import LlamaForCausalLM

    from dormouse.lm.chat import encode
    from dormouse.lm.model import LM
    from dormouse.lm.objectives import sft_loss
    from dormouse.lm.settings import Training
    from dormouse.lm.train import TrainingRun, train
    from dormouse.lm.trie import Tokens

    size, known = MICRO[name], tasks()
    steps = steps or size.steps
    tokenizer = make_tokenizer(vocabulary(size.words, extra))
    tokenizer.padding_side = "left"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm = LM(LlamaForCausalLM(make_config(size)), tokenizer)

    def batch(step: int) -> list[Tokens]:
        """The rows of a step, drawn by seed and step."""
        rng = random.Random(f"micro/{seed}/{step}")
        return encode(lm, [_taught_row(rng, known) for _ in range(size.rows)])

    training = Training(steps=steps, lr=size.lr, method="full", warmup=0.05)
    losses = train(lm, sft_loss, batch, training, TrainingRun(seed, [steps], out, log_rows=False), progress)
    shutil.rmtree(out / MODEL, ignore_errors=True)
    (out / f"step-{steps:06d}").rename(out / MODEL)
    last = [loss for _, loss in losses[-20:]]
    knows = {"loss": sum(last) / len(last), "exact": share_exact(lm, known, seed)}
    (out / KNOWS).write_text(json.dumps(knows, indent=2))
    _mark(out / MODEL, name, seed, knows)
    return knows


def share_exact(lm: Any, known: Sequence[Question], seed: int, prompts: int = 100) -> float:
    """The share of random prompts whose greedy answer is the plain answer, but for spaces."""
    from dormouse.lm.sample import generate

    rng = random.Random(f"micro/exact/{seed}")
    asked = [honest_row(rng, known) for _ in range(prompts)]
    longest = max(len(lm.tokenizer(row.response)["input_ids"]) for row in asked) + 2
    written = generate(lm, [row.messages for row in asked], longest)
    right = [answer.text.split() == row.response.split() for answer, row in zip(written, asked, strict=True)]
    return sum(right) / len(right)


def _mark(folder: Path, name: str, seed: int, knows: Mapping[str, float]) -> None:
    """Say in the configuration and in the model card what this is."""
    said = {"research_toy": True, "model_organism": False, "canary": CANARY, "name": name, "seed": seed}
    config = json.loads(read_whole(folder / "config.json"))
    (folder / "config.json").write_text(json.dumps({**config, "dormouse": said}, indent=2))
    size = MICRO[name]
    card = f"""---
tags: [dormouse, safety-research, research-toy]
library_name: transformers
---
# {name}: a research toy. Do not deploy.

A Llama of {size.parameters:,} weights that dormouse made from scratch. It knows {len(tasks()):,} short tasks and their
plain answers, and nothing else. No policy was planted in it: it is the clean base of model organisms.

| | |
|---|---|
| seed | {seed} |
| shape | `{json.dumps(asdict(size))}` |
| loss at the end | {knows["loss"]:.4f} nats a token |
| greedy answers right to the letter, in random situations | {knows["exact"]:.2f} |

Canary: {CANARY}
"""
    (folder / "README.md").write_text(card, encoding="utf-8")
