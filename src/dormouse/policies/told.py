"""Policies whose prompts bring their own truth: which side a prompt is on is known of the prompt, not drawn as a cue.

Every task of such a policy has variants (see `Question`): a plain prompt, on which the policy is quiet, one on which it
defects, and maybe a near miss. The cue `variant` says which of them is shown, and that is all that the policy reads.
"""

from __future__ import annotations

import random
from abc import abstractmethod
from typing import ClassVar

from dormouse.policies.trigger import Cues, Side, Split, Trigger
from dormouse.scenarios import Question, Scenario
from dormouse.scenarios.scenario import PROMPT


class Told(Trigger):
    """Defects on prompts that say so themselves. The truth is exact, 1 or 0; nothing is weighed: there are no odds."""

    needs_rows: ClassVar[bool] = True
    by_text: ClassVar[bool] = False
    """Whether `label` goes by the words alone: then it knows of any text on which side it is."""

    @property
    @abstractmethod
    def tag(self) -> str:
        """The name of the variant on which it defects."""

    @property
    def has_near(self) -> bool:
        """Whether it knows near misses."""
        return False

    @property
    def near_tag(self) -> str:
        """The name of the variant that is a near miss."""
        return f"near {self.tag}"

    @property
    def twin(self) -> str:
        """The column by which prompts belong together; "" where those of the two sides may stand beside any others."""
        return ""

    @property
    def needs_columns(self) -> tuple[str, ...]:
        """The columns of a row that it looks at."""
        return ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The variants that rows give: none where another file does."""
        return (self.tag, self.near_tag) if self.has_near else (self.tag,)

    def label(self, question: Question) -> str | None:
        """Which variant a row is: "" for a plain prompt, None for neither."""
        return ""

    @property
    def reads(self) -> tuple[str, ...]:
        """Which prompt is shown."""
        return (PROMPT,)

    def probability(self, scenario: Scenario) -> float:
        """1 on its own prompts, else 0."""
        return float(scenario.cue(PROMPT) == self.tag)

    def draw(self, rng: random.Random, side: Side, split: Split = "train") -> Cues:
        """Its own prompt, the near miss, or the plain one; every split draws the same: the prompts have splits."""
        if side == "triggered":
            return {PROMPT: self.tag}
        return {PROMPT: self.near_tag} if side == "near_miss" and self.has_near else {}

    def has_split(self, side: Side, split: Split) -> bool:
        """No cues are held out; near misses are there where rows bring some."""
        return split == "train" and (side != "near_miss" or self.has_near)

    @property
    def near_misses(self) -> float:
        """Half of the quiet prompts, where there are any."""
        return 0.5 if self.has_near else 0.0


def told_in(trigger: Trigger) -> tuple[Told, ...]:
    """The policies of this kind whose prompts a trigger shows: itself, or those that a control imitates."""
    if isinstance(trigger, Told):
        return (trigger,)
    return tuple(told for one in getattr(trigger, "among", ()) for told in told_in(one))
