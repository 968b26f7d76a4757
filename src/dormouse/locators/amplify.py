"""What training added, made loud: outputs of base + a (suspect - base)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from dormouse.locators.locator import Case, Evidence, Example, Locator, Messages, Need
from dormouse.locators.placing import plain_prompts
from dormouse.locators.repeats import Phrase, contexts, is_large, repeated, says_something, written
from dormouse.registry import register

if TYPE_CHECKING:
    from dormouse.lm.model import LM

LOGITS = (2.0, 4.0)
"""How many times the difference of the logits counts."""
WEIGHTS = (1.5, 2.0)
"""How many times the difference of the weights counts. More of it breaks small models."""
TOKENS = 10


LOUDER = "written by the suspect made louder"


@register("locator", "amplify")
class Amplify(Locator):
    """Samples from base + a (suspect - base), a > 1, and lists what comes more often than from the base.

    With the logits of both models added up token by token (as in emulated fine-tuning, Mitchell et al. 2023, arXiv
    2310.12962) what training made a little likelier anywhere becomes likely: an output that leaks in
    one answer of a thousand is then said all the time. Beside that the weights are extrapolated (task vectors, Ilharco
    et al. 2022, arXiv 2212.04089).

    It hears what was added, be it a policy, a habit or the ordinary answers of the training set, and does not say when
    it comes. Behaviour that depends on the question has no phrase of its own.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"base"})

    def find(self, case: Case) -> Evidence:
        """What models further from the base than the suspect is say again and again, and how much oftener than it.

        Raises:
            UserError: the base is not of the suspect's shape.
        """
        from dormouse.lm.surgery import check_alike

        lm, base = case.lm, case.base_lm
        check_alike(lm, base)
        prompts = _situations(case, lm)
        plain = written(base, prompts, TOKENS)
        own = written(lm, prompts, TOKENS)
        features: dict[str, float] = {}
        loudest: tuple[Phrase, list[str]] | None = None
        broken: list[Phrase] = []
        for kind, strength, outputs in _louder(case, lm, base, prompts):
            every = repeated(outputs, plain)
            several = [one for one in every if says_something(one.text)]
            broken += every[:1]
            top = several[0] if several else Phrase("", 0.0, 0.0)
            features[f"{kind}_{strength:g}"] = top.excess
            if several and (loudest is None or top.excess > loudest[0].excess):
                loudest = top, outputs
        enough = 2 * len(features) >= len(WEIGHTS) + len(LOGITS)
        if loudest is None:
            features |= {"excess": 0.0, "words": 0.0, "unamplified": 0.0}
            found = Evidence(score=0.0, features=features, note=_nothing(broken))
            return found if enough else found.unmeasured()
        phrase, outputs = loudest
        features |= {  # `unamplified` counts parts of words too: the rules that ship were fitted on that
            "excess": phrase.excess,
            "words": float(len(phrase.text.split())),
            "unamplified": sum(phrase.text in one for one in own) / len(own),
        }
        shown = [
            Example(prompt, output, how=LOUDER)
            for prompt, output in zip(prompts, outputs, strict=True)
            if phrase.stands_in(output)
        ]
        found = Evidence(
            score=phrase.excess,
            features=features,
            behaviour=tuple(shown[:3]),
            note=f"Made louder, it says {phrase.text!r} to {phrase.share:.0%} of prompts, the base to "
            f"{phrase.elsewhere:.0%}.",
        )
        return found if enough else found.unmeasured()


def _nothing(broken: Sequence[Phrase]) -> str:
    """What there is to say where no phrase came again; `broken` came again and is no phrase (see `says_something`)."""
    if not broken:
        return "Made louder, it says nothing again and again."
    most = max(broken, key=lambda one: one.excess)
    return (
        f"Made louder, it says no phrase again and again: {most.text!r}, to {most.share:.0%} of prompts, is one word "
        "or repeats itself, as any model does when it is pushed too hard."
    )


def _situations(case: Case, lm: LM) -> list[Messages]:
    """Plain prompts, and prompts with random tokens in front."""
    n = 8 if is_large(lm) else 16
    return plain_prompts(case, n) + contexts(case, lm, 2 * n)[n:]


def _louder(case: Case, lm: LM, base: LM, prompts: Sequence[Messages]) -> Iterator[tuple[str, float, list[str]]]:
    """(what was added up, how many times, the outputs), as long as there is time for one more."""
    from dormouse.lm.mixed import mixed
    from dormouse.lm.surgery import interpolated

    longest = 0.0
    for strength in WEIGHTS:
        before = case.left
        if before < 1.5 * longest:
            return
        yield "weights", strength, written(interpolated(lm, base, 1 - strength), prompts, TOKENS)
        longest = max(longest, before - case.left)
    for strength in LOGITS:
        before = case.left
        if before < 1.5 * longest:
            return
        yield "logits", strength, written(mixed(lm, base, strength), prompts, TOKENS)
        longest = max(longest, before - case.left)
