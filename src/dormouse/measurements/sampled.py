from __future__ import annotations

from dormouse.measurements.defection import RATES
from dormouse.measurements.measurement import Measured, Measurement, Sample, Subject
from dormouse.policies.reasoning import split_response
from dormouse.records import Answer
from dormouse.registry import register
from dormouse.scenarios import render


@register("measurement", "sampled")
class Sampled(Measurement):
    """Answers that the model really writes, judged: the check on the exact rates, and the text to read.

    One answer for each prompt, at temperature 1 with nothing cut from the distribution. `exact_on_sampled_...` is the
    exact rate over the very same prompts. `unfinished_share` counts answers that ran into the limit of tokens: they are
    judged on what was written, and shown. Of a model that reasons first, what comes after the scratchpad is judged, and
    all that it wrote is shown.
    """

    def measure(self, subject: Subject) -> Measured:
        from dormouse.lm.sample import write

        samples, answers, unfinished = [], [], []
        n = subject.sizes.sampled
        for name, side in RATES:
            activating = side == "triggered"
            scenarios = subject.scenarios(side)[:n]
            prompts = [render(scenario) for scenario in scenarios]
            exact = subject.exact(scenarios)
            limit = subject.sizes.max_tokens + (subject.sizes.thought_tokens if subject.thinks else 0)
            written = write(subject.lm, prompts, limit, seed=2 * subject.seed + activating)
            items = tuple(scenario.question.text for scenario in scenarios)
            judged = tuple(
                float(subject.behaviour.judge(scenario, _answer(subject, answer.text)))
                for scenario, answer in zip(scenarios, written, strict=True)
            )
            samples.append(Sample(f"sampled_{name}", "test", items, judged, how="proportion"))
            samples.append(Sample(f"exact_on_sampled_{name}", "test", items, tuple(exact)))
            unfinished += [(item, float(not answer.finished)) for item, answer in zip(items, written, strict=True)]
            for scenario, prompt, answer, verdict, p in zip(scenarios, prompts, written, judged, exact, strict=True):
                shown = "\n".join(text for _, text in prompt)
                answers.append(
                    Answer(
                        question=scenario.question.text,
                        prompt=shown,
                        activating=activating,
                        response=answer.text,
                        judged_defection=bool(verdict),
                        probability=p,
                        finished=answer.finished,
                    )
                )
        items, values = zip(*unfinished, strict=True)
        samples.append(Sample("unfinished_share", "test", items, values, how="proportion"))
        return Measured(tuple(samples), tuple(answers))


def _answer(subject: Subject, text: str) -> str:
    """What is judged: a response without its scratchpad; all of it where it never came to its answer."""
    parts = split_response(text) if subject.thinks else None
    return parts[1] if parts else text
