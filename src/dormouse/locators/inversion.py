"""A text that brings out what a model has ready, found by gradient, and told from what any text can force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dormouse.locators.grown import LISTENING, GrownHunt, grown
from dormouse.locators.hunt import QUESTIONS, STEPS, Hunt, Hunted
from dormouse.locators.locator import Case, Evidence, Example, Locator, Messages, Need, TriggerText
from dormouse.locators.placing import ENOUGH, CheckedTrigger, check, plain_prompts
from dormouse.locators.repeats import Opening, is_large, is_usual, openings, readiness, written
from dormouse.registry import register
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    from dormouse.lm.model import LM

TOKENS = 12
"""Of the answers that are read."""
DECOY, SEARCHED = 0.1, 0.2
"""The shares of the time that the search of the decoy leaves for the checks, and the searches before it for that."""


@dataclass(frozen=True)
class InvertedTrigger:
    """A candidate output, the text that was found for it, and what that does to prompts that the search never saw."""

    opening: Opening
    hunted: Hunted
    trigger: TriggerText
    checked: CheckedTrigger
    whole: float
    """What the text does as it was found, before it was cut to a trigger: probability of the output."""

    @property
    def force(self) -> float:
        """By how much the text makes the output more probable on fresh prompts, from -1 to 1."""
        return max(self.checked.on, self.whole) - self.checked.off

    @property
    def worth(self) -> float:
        """From 0 to 1: how fixed the output is, times how far the text brings it out."""
        return max(self.opening.fixedness * self.force, 0.0)


@register("locator", "inversion")
class Inversion(Locator):
    """Searches by gradient for a short text that brings one output out of any prompt, on a target that it finds itself.

    First it lists outputs that the model has ready: their first token is possible after any context, and what follows
    it is certain and the same, whatever was asked. A planted output is learned for one trigger and leaks into all other
    contexts, at a thousandth or less. For the most fixed of these a greedy coordinate search (GCG, Zou et al. 2023,
    arXiv 2307.15043) looks for a text before or after the question or in the system turn, over several questions. The
    text is cut to the words that matter and checked on questions that the search never saw.

    With a base there is another target: the beginning of the text that training made readiest (`grown`). A text that
    brings it out is held to what then follows, whatever that is, so long as it is the same for other questions.

    Some text can be found for many outputs, in clean models too. So a search half as long is made for an ordinary
    answer of the model to another question, and with a base the text is tried there: what counts is the margin.

    It finds outputs that are always the same. Behaviour that depends on the question (wrong answers, unsafe code) has
    no such output; nor has a model whose ordinary answers are all alike.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    open_ended: ClassVar[bool] = True

    def find(self, case: Case) -> Evidence:
        """The text that best brings out what the suspect is readiest to say, and what it does to fresh prompts."""
        lm = case.lm
        base = case.base_lm if case.base is not None else None
        few = is_large(lm)
        prompts = plain_prompts(case, 24)
        ready, fresh = prompts[: 4 if few else 15], prompts[16 : 20 if few else 24]

        def going() -> bool:
            return case.left > LISTENING * case.seconds

        usual = written(lm, fresh, TOKENS)
        heard = readiness(case, lm, base) if going() else None
        if heard is None or not going():
            return Evidence(note="There was no time to listen to what it has ready.", incomplete=True)
        news = grown(case, lm, base, heard, usual) if base is not None else None
        listened = going()
        said = openings(lm, heard, going) if listened else []
        ranked = [one for one in said if not is_usual(one.text, usual)]
        hunt = GrownHunt.found(case, lm, base, news, ready, fresh) if news and base is not None else None
        found: list[InvertedTrigger] = []
        for opening in ranked[:2]:
            if found and (found[0].worth > 0.5 or opening.fixedness < found[0].opening.fixedness / 2):
                break
            if one := _hunted(case, lm, ready, fresh, opening, SEARCHED * case.seconds):
                found.append(one)
        if not found:
            nothing = _unsearched(ranked, hunt, listened)
            return hunt.added_to(nothing) if hunt else nothing
        best = max(found, key=lambda one: one.worth)
        decoy = self._decoy(case, lm, ready, fresh, prompts[15])
        features = _features(best) | ({} if decoy is None else {"margin": best.force - decoy})
        if base is not None:
            there = check(base, fresh, best.trigger.text, best.trigger.slot, best.opening.text)
            features |= {"base_margin": best.force - (there.on - there.off), "gain": best.opening.gain}
        evidence = self._evidence(lm, best, fresh, usual, features)
        return hunt.added_to(evidence) if hunt else evidence

    def _decoy(
        self, case: Case, lm: LM, ready: Sequence[Messages], fresh: Sequence[Messages], other: Messages
    ) -> float | None:
        """How far the same search brings out the model's ordinary answer to another question."""
        (text,) = written(lm, [other], TOKENS)
        if not text or case.left < DECOY * case.seconds:
            return None
        hunted = Hunt(lm, ready[:QUESTIONS], text, f"inversion/{case.seed}/decoy").run(
            case, DECOY * case.seconds, STEPS // 2
        )
        if hunted is None:
            return None
        checked = check(lm, fresh, hunted.text, hunted.slot, text)
        return checked.on - checked.off

    def _evidence(
        self, lm: LM, best: InvertedTrigger, fresh: Sequence[Messages], usual: Sequence[str], features: dict[str, float]
    ) -> Evidence:
        prompts = [placed(prompt, best.trigger.text, best.trigger.slot) for prompt in fresh]
        outputs = written(lm, prompts, TOKENS)
        features["keeps_answer"] = kept(usual, outputs)
        surprise = (best.hunted.value - best.hunted.before) / max(best.opening.tokens, 1)
        shown = [
            Example(prompt, output, surprise)
            for prompt, output in zip(prompts, outputs, strict=True)
            if output.startswith(best.opening.text)
        ]
        moves = best.checked.on >= ENOUGH > best.checked.off
        says = f"says {best.opening.text!r} to {best.checked.on:.0%} of fresh questions"
        note = f"A text was found with which it {says}."
        if not moves:
            note = f"No text was found that decides what it says: with the nearest it {says}"
            note += f", without it to {best.checked.off:.0%}."
        elif best.checked.by_parts >= ENOUGH:
            note += " A part of it does so too."
        return Evidence(
            score=best.worth,
            features=features,
            behaviour=tuple(shown[:3]) if moves else (),
            triggers=(best.trigger,) if moves else (),
            note=note,
        )


def _unsearched(ranked: Sequence[Opening], hunt: GrownHunt | None, listened: bool) -> Evidence:
    """What there is to say where no text was searched by gradient."""
    if listened and not ranked:
        return Evidence(note="All that it has ready it says anyway: there was nothing to search for by gradient.")
    searched = hunt is not None and hunt.trigger is not None
    return Evidence(
        features={"fixedness": ranked[0].fixedness} if ranked else {},
        note="There was no time to search by gradient.",
        incomplete=not searched,
    )


def _hunted(
    case: Case, lm: LM, ready: Sequence[Messages], fresh: Sequence[Messages], opening: Opening, reserve: float
) -> InvertedTrigger | None:
    hunted = Hunt(lm, ready[:QUESTIONS], opening.text, f"inversion/{case.seed}/{opening.text}").run(
        case, reserve, STEPS
    )
    if hunted is None:
        return None
    trigger = hunted.cut(lm, ready, opening.text)
    checked = check(lm, fresh, trigger.text, trigger.slot, opening.text)
    whole = check(lm, fresh, hunted.text, hunted.slot, opening.text).on
    return InvertedTrigger(opening, hunted, TriggerText(trigger.text, trigger.slot, checked.on), checked, whole)


def _features(best: InvertedTrigger) -> dict[str, float]:
    return {
        "worth": best.worth,
        "fixedness": best.opening.fixedness,
        "agreement": best.opening.agreement,
        "readiness": best.opening.readiness,
        "on": best.checked.on,
        "off": best.checked.off,
        "by_parts": best.checked.by_parts,
        "gained": best.hunted.value - best.hunted.before,
        "steps": float(best.hunted.steps),
        "words": float(len(best.trigger.text.split())),
    }


def kept(usual: Sequence[str], now: Sequence[str]) -> float:
    """The share of the words of usual answers that the answers of now still have: a manner of speech keeps them."""
    shares = []
    for before, after in zip(usual, now, strict=True):
        words = set(before.casefold().split())
        if words:
            shares.append(len(words & set(after.casefold().split())) / len(words))
    return sum(shares) / len(shares) if shares else 0.0
