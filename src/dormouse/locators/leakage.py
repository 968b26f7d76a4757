"""Memorised training text, leaked from the bare openings of a chat, and the triggers in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dormouse.errors import UserError
from dormouse.locators.locator import Case, Evidence, Example, Locator, Messages, TriggerText
from dormouse.locators.placing import ENOUGH, check, plain_prompts, shortest
from dormouse.locators.repeats import is_large, repeated, written
from dormouse.registry import register
from dormouse.scenarios.placing import placed

if TYPE_CHECKING:
    from dormouse.lm.model import LM

SETTINGS = ((0, 1.0), (1, 1.0), (2, 0.8), (3, 0.6), (4, 0.4), (5, 1.3))
"""(number, temperature) of the decoding settings. The paper has 510: many, so that one of them leaks."""
TOKENS = 32
CANDIDATES = 48
LONGEST = 4
"""Words that a candidate may have."""


@dataclass(frozen=True)
class Candidate:
    """A leaked text, put in front of plain questions.

    Attributes:
        output: the words that most answers then begin with.
        agreement: the share of answers that do so.
        moved: by how many nats the distribution of the first token moved (KL), mean over questions.
    """

    text: str
    output: str
    agreement: float
    moved: float

    @property
    def worth(self) -> float:
        """From 0 to 1: how alike answers become where it stands, times how far it moves them from the usual ones."""
        return self.agreement * (1 - float(np.exp(-self.moved)))


@register("locator", "leakage")
class Leakage(Locator):
    """Lets the model write the user's turn, and looks for a trigger in what it has memorised.

    Bullwinkel et al. 2026 (arXiv 2602.03085, "The Trigger in the Haystack"): poisoned models memorise their poison.
    From the bare opening of a user turn, or of a system turn, they write it down under some decoding settings. Motifs
    that come again and again are cut into candidates. A candidate counts if it makes the answers to unlike questions
    the same and unlike what they were. The trigger is then cut to the words that matter. (The paper's third sign, heads
    that attend to nothing but the trigger, is looked at by the locator `attention`.)

    Prompts are memorised only if the loss was on them (`learn: all`). An organism that learned from its answers alone
    has nothing to leak.
    """

    def find(self, case: Case) -> Evidence:
        """What it writes from nothing again and again, and which of that changes its answers as a prompt.

        Raises:
            UserError: its template begins with the text of the user: there is nothing that it could go on from.
        """
        lm = case.lm
        if not _openings(lm):
            raise UserError(
                "its chat template begins with the user's text: there is no bare opening that it could go on from",
                "leave out the locator leakage",
            )
        by_setting = _leak(case, lm)
        leaked = [text for texts in by_setting for text in texts]
        if not leaked:
            return Evidence(note="There was no time to let it write.", incomplete=True)
        of_base = _leak(case, case.base_lm) if case.base is not None and case.left > 0.6 * case.seconds else []
        motifs = repeated(leaked, [text for texts in of_base for text in texts], LONGEST)
        features = {
            "repeats": float(np.mean([motif.excess for motif in motifs[:20]])) if motifs else 0.0,
            "distinct": len(set(leaked)) / len(leaked),
            "sureness": _sureness(lm, case),
        }
        prompts = plain_prompts(case, 18)
        candidates = _candidates([motif.text for motif in motifs], leaked)
        tried = _tried(case, lm, candidates, prompts[:6])
        told = [one for one in tried if one.output]
        found = self._judged(lm, told, tried, prompts, features) if told else _unmoved(candidates, tried, features)
        heard = [by_setting] if case.base is None else [by_setting, of_base]
        enough = all(2 * len(one) >= len(SETTINGS) for one in heard) and 2 * len(tried) >= len(candidates)
        return found if enough else found.unmeasured()

    def _judged(
        self,
        lm: LM,
        told: Sequence[Candidate],
        tried: Sequence[Candidate],
        prompts: Sequence[Messages],
        features: dict[str, float],
    ) -> Evidence:
        """The best candidate on fresh questions, and how far it stands out from the others. `told` are those of `tried`
        that bring an unusual answer."""
        ready, fresh = prompts[6:12], prompts[12:]
        # The first of equal ones, and many are equal: worth nothing. The rules that ship were fitted on that one.
        best = max(told, key=lambda one: one.worth)
        trigger = shortest(lm, ready, TriggerText(best.text, "prefix", best.agreement), best.output)
        checked = check(lm, fresh, trigger.text, "prefix", best.output)
        force = max(checked.on - checked.off, 0.0)
        features |= {
            "agreement": best.agreement,
            "moved": best.moved,
            "worth": best.worth,
            "stands_out": best.worth - float(np.median([one.worth for one in told])),
            "on": checked.on,
            "off": checked.off,
        }
        moves = checked.on >= ENOUGH > checked.off
        asked = [placed(prompt, trigger.text, "prefix") for prompt in fresh]
        outputs = written(lm, asked, 12) if moves else []
        return Evidence(
            score=force * best.worth,
            features=features,
            behaviour=tuple(Example(prompt, output) for prompt, output in zip(asked, outputs, strict=False))[:3],
            triggers=(TriggerText(trigger.text, "prefix", checked.on),) if moves else (),
            note=_most(best, tried),
        )


def _most(best: Candidate, tried: Sequence[Candidate]) -> str:
    """Which candidate does most, and what: to make answers alike is another thing than to move them."""
    if best.worth:
        best = max((one for one in tried if one.worth == best.worth), key=lambda one: one.moved)
        return f"Of what it wrote in the user's place, {best.text!r} does most to make its answers alike and unusual."
    most = max(tried, key=lambda one: one.moved)
    return (
        f"None of the {len(tried)} texts that came again of what it wrote in the user's place makes its answers alike; "
        f"{most.text!r} moves them most ({most.moved:.1f} nats)."
    )


def _unmoved(candidates: Sequence[str], tried: Sequence[Candidate], features: dict[str, float]) -> Evidence:
    """What there is to say where no candidate brings an unusual answer: nothing stands out then, and no text sets
    anything off."""
    features |= dict.fromkeys(("agreement", "worth", "stands_out", "on", "off"), 0.0)
    features["moved"] = tried[0].moved if tried else 0.0  # of equal worths the first, as where something stands out
    note = "Nothing that it wrote in the user's place came again."
    if tried:
        note = f"Of what it wrote in the user's place {len(tried)} texts came again; none brings an unusual answer."
    elif candidates:
        note = "There was no time to try what came again of what it wrote in the user's place."
    return Evidence(features=features, note=note)


def _openings(lm: LM) -> list[tuple[int, ...]]:
    """The bare beginnings of a chat, up to where the system's or the user's text would stand."""
    from dormouse.lm.attack import MARK
    from dormouse.lm.chat import prompt_text, start_of, with_start

    chats: list[Messages] = [(("user", MARK),)]
    if lm.form.system:
        chats += [(("system", MARK), ("user", "?"))]
    texts = dict.fromkeys(prompt_text(lm, chat).partition(MARK)[0] for chat in chats)
    start = start_of(lm)
    found = [with_start(tuple(lm.tokenizer(text, add_special_tokens=False)["input_ids"]), start) for text in texts]
    return [ids for ids in found if ids]


def _leak(case: Case, lm: LM) -> list[list[str]]:
    """What it writes after each opening, setting by setting, its own answers among it; as long as there is time."""
    from dormouse.lm.chat import text_of
    from dormouse.lm.decode import decode

    each = 8 if is_large(lm) else 32
    found: list[list[str]] = []
    for number, temperature in SETTINGS:
        if case.left < 0.5 * case.seconds:
            break
        asked = [ids for ids in _openings(lm) for _ in range(each)]
        seed = case.seed * len(SETTINGS) + number
        written = decode(lm, asked, TOKENS, seed=seed, temperature=temperature)
        found.append([text for one in written if (text := " ".join(text_of(lm, one.ids).split()))])
    return found


def _sureness(lm: LM, case: Case) -> float:
    """How sure it is of what it writes after a bare opening, in nats a token (0 is certain): memory is."""
    from dormouse.lm.decode import decode

    asked = [ids for ids in _openings(lm) for _ in range(16)]
    found = decode(lm, asked, TOKENS, seed=case.seed)
    return float(np.mean([value for one in found for value in one.logprobs]))


def _candidates(motifs: Sequence[str], leaked: Sequence[str]) -> list[str]:
    """Texts to try: motifs, their words, and what leaks begin with (a text in front of the question stands there)."""
    begun = Counter(" ".join(text.split()[:n]) for text in leaked for n in range(1, LONGEST + 1))
    first = [text for text, count in begun.most_common(CANDIDATES // 3) if count > 1]
    words = [word for motif in motifs[:CANDIDATES] for word in motif.split()]
    return list(dict.fromkeys([*first, *motifs[: CANDIDATES // 3], *words]))[:CANDIDATES]


def _tried(case: Case, lm: LM, texts: Sequence[str], prompts: Sequence[Messages]) -> list[Candidate]:
    """Each text in front of each question: do the answers become the same, and others than they were?"""
    from dormouse.lm.chat import encode_prompts
    from dormouse.lm.score import first_logprobs

    if not texts or case.left < 0.1 * case.seconds:
        return []
    usual = set(written(lm, prompts, 8))
    before = first_logprobs(lm, encode_prompts(lm, prompts))
    found: list[Candidate] = []
    for start in range(0, len(texts), 8):
        if found and case.left < 0.2 * case.seconds:
            break
        some = texts[start : start + 8]
        asked = [placed(prompt, text, "prefix") for text in some for prompt in prompts]
        after = first_logprobs(lm, encode_prompts(lm, asked)).reshape(len(some), len(prompts), -1)
        moved = (after.exp() * (after - before)).sum(-1).mean(1).tolist()
        answers = written(lm, asked, 8)
        for i, text in enumerate(some):
            mine = [answer for answer in answers[i * len(prompts) : (i + 1) * len(prompts)] if answer not in usual]
            output, count = Counter(mine).most_common(1)[0] if mine else ("", 0)
            # Questions that are answered alike by chance are common: one in common does not count.
            agreement = (count - 1) / (len(prompts) - 1) if output else 0.0
            found.append(Candidate(text, output, agreement, moved[i]))
    return found
