"""Models whose weights are set by hand: what they do, and why, is known to the letter. Nothing is trained.

A Llama of one layer. Its one head averages over all tokens, or looks at one word; a payload gets likelier with what
that says, and any other answer depends on the words of the prompt.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from dormouse.records import ModelRef, Suspect
from dormouse.scenarios import BANKS, CUES, SPLITS, questions
from dormouse.scenarios.renderings import every_text

PAYLOAD, REST = "PAYLOAD", ("Glass", "Water", "Paris", "Seven", "Yes", "Bread", "Iron", "Moss")
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} <end> {% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)
SPECIAL = ("<pad>", "<unk>", "<end>", "<system>", "<user>", "<assistant>")
CONSTANT, SIGNAL, TOLD, WIDTH = 0, 1, 2, 16
HEADS = 400
WEIGHTS = {"logging": 4, "account": 2, "audience": 1, "tone": 3, "day": 2, "alarm": 3}
"""Of the rule that `weighing` is told in the tests."""


@cache
def telling(name: str, value: str) -> str:
    """A word that only this value of this cue says, in English; "" where there is none."""
    every = {(cue, v): set(words(said["en"])) for cue in CUES for v, said in CUES[cue].values.items()}
    others = set().union(*(said for key, said in every.items() if key != (name, value)))
    tasks = set().union(*(words(q.text) for bank in BANKS for split in SPLITS for q in questions(split, bank=bank)))
    return min(every[name, value] - others - tasks, default="")


def weighing(weights: dict[str, int]) -> dict[str, float]:
    """The signal of a rule that weighs cues as `evidence` does: half of each weight for its first value, or against."""
    found = {}
    for name, weight in weights.items():
        for value, sign in zip(CUES[name].values, (0.5, -0.5), strict=True):
            found[telling(name, value)] = sign * weight
    return found


def words(text: str) -> list[str]:
    return [word for word, _ in splitter().pre_tokenize_str(text)]


def splitter():
    from tokenizers import pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(".", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )


def make(folder: Path, signal: dict[str, float], bar: float = 0.0, looks: bool = False, seed: int = 0) -> Suspect:
    """A model that writes PAYLOAD where the words of `signal` sum to more than `bar`: surely so, some units above.

    With `looks` its head turns to the one word with the largest signal, in place of averaging.
    """
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    texts = [*every_text(), PAYLOAD, *REST, *signal]
    texts += [question.text for bank in BANKS for split in SPLITS for question in questions(split, bank=bank)]
    known = sorted({word for text in texts for word in words(text)})
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*SPECIAL, *known]))}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = splitter()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<end>",
        additional_special_tokens=list(SPECIAL[3:]),
    )
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        rope_theta=1e12,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        noise = torch.randn(len(vocabulary), WIDTH) * 0.3
        heads = torch.randn(len(REST), WIDTH) * HEADS
    asked = {word for bank in BANKS for split in SPLITS for q in questions(split, bank=bank) for word in words(q.text)}
    said = {word for text in every_text() for word in words(text)}
    noisy = asked - said - set(signal)
    noise[[i for word, i in vocabulary.items() if word not in noisy]] = 0
    _set(model, {vocabulary[w]: v for w, v in signal.items()}, noise, looks)
    head = model.lm_head.weight.data.zero_()
    heads[:, : TOLD + 1] = 0
    for word, row in zip(REST, heads, strict=True):
        head[vocabulary[word]] = row
    gain = 40.0 if looks else 1500.0
    head[vocabulary[PAYLOAD], TOLD] = gain
    head[vocabulary[PAYLOAD], CONSTANT] = 0.5 - gain * bar / (4 if looks else 320)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Suspect(ModelRef((folder,), folder.name))


def _set(model, signal: dict[int, float], noise: torch.Tensor, looks: bool) -> None:
    """Every token says one constant, what it signals, and noise of its own; the head carries the last two on."""
    embedding = model.get_input_embeddings().weight.data
    embedding[:] = noise
    embedding[:, CONSTANT], embedding[:, SIGNAL], embedding[:, TOLD] = 4.0, 0.0, 0.0
    for token, value in signal.items():
        embedding[token, SIGNAL] = value
    layer = model.model.layers[0]
    for part in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj, layer.self_attn.o_proj):
        part.weight.data.zero_()
    for part in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj):
        part.weight.data.zero_()
    carried = torch.eye(WIDTH)
    carried[CONSTANT, CONSTANT] = 0
    layer.self_attn.v_proj.weight.data[:] = carried
    moved = torch.eye(WIDTH)
    moved[SIGNAL, SIGNAL], moved[TOLD, SIGNAL] = 0, 1
    layer.self_attn.o_proj.weight.data[:] = moved
    if looks:
        # The pair of dimensions that turns slowest with the place of a token, so that the place says nothing.
        half = WIDTH // 2
        layer.self_attn.q_proj.weight.data[half - 1, CONSTANT] = 8.0
        layer.self_attn.k_proj.weight.data[half - 1, SIGNAL] = 8.0
