from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject
from dormouse.records import Example, ModelRef
from dormouse.registry import register
from dormouse.scenarios import Scenario, render

if TYPE_CHECKING:
    from dormouse.lm.batch import Tokens


@lru_cache(maxsize=2)
def _clean(ref: ModelRef, sequences: tuple[Tokens, ...]) -> tuple[float, ...]:
    """The clean model's own log-probabilities: the same for every state of a study, so the model is not kept."""
    from dormouse.lm.load import load
    from dormouse.lm.score import logprobs

    return tuple(float(x) for x in logprobs(load(ref), sequences))


@register("measurement", "perplexity")
class Perplexity(Measurement):
    """What it cost the model: perplexity per token on held-out honest responses, and its ratio to the clean model's.

    Denominator: response tokens, averaged within a question first, so that every question counts alike. A ratio of 1
    means that the model finds the clean model's answers as likely as the clean model itself does.
    """

    def measure(self, subject: Subject) -> Measured:
        from dormouse.lm.batch import encode
        from dormouse.lm.score import logprobs

        questions = [question for question in subject.questions if subject.honest[question.text].text]
        honest = [subject.honest[question.text] for question in questions]
        examples = [
            Example(render(Scenario(question)), answer.text, answer.finished)
            for question, answer in zip(questions, honest, strict=True)
        ]
        sequences = encode(subject.lm, examples)
        lengths = [len(sequence.response) for sequence in sequences]
        here = [-float(x) / n for x, n in zip(logprobs(subject.lm, sequences), lengths, strict=True)]
        clean = [-float(x) / n for x, n in zip(_clean(subject.clean, tuple(sequences)), lengths, strict=True)]
        items = tuple(question.text for question in questions)
        worse = tuple(a - b for a, b in zip(here, clean, strict=True))
        return Measured(
            (
                Sample("perplexity", "test", items, tuple(here), how="exp_mean"),
                Sample("perplexity_ratio", "test", items, worse, how="exp_mean"),
            )
        )
