"""What every measurement can do, and what it gets to see."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import ConfigDict, Field

from dormouse.metrics import Metric
from dormouse.policies import SIDES, Behaviour, Side, Split, Trigger
from dormouse.policies.scratchpad_text import ScratchpadMode, has_scratchpad
from dormouse.records import Answer, Censoring, ModelRef, PlaceOnCurve
from dormouse.registry import PlugIn, field_of
from dormouse.renamed import OldKeys, Was
from dormouse.scenarios import Question, Renderings, Scenario, questions
from dormouse.scenarios.renderings import Messages
from dormouse.scenarios.tasks import kept_for_checks

if TYPE_CHECKING:
    from dormouse.lm.model import LM
    from dormouse.lm.sample import Completion


class MeasurementConfig(OldKeys):
    """How much is measured: what a study file may say under `measure`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    questions: int = Field(48, ge=4, le=100_000)
    """Held-out questions behind every rate."""
    sampled: int = Field(16, ge=1, le=100_000)
    """Of these, how many are also answered in writing, with and without the cue."""
    curve: int = Field(8, ge=2, le=100_000)
    """Questions at every point of a curve. Of few the interval is wide: two that agree say little of others."""
    max_tokens: int = Field(24, ge=1, le=4096)
    """Where a written answer is cut off; later where a payload is longer, and its judge would not know it cut off."""
    scratchpad_samples: Annotated[int, Was("scratchpads")] = Field(1, ge=1, le=1000)
    """Scratchpads sampled for each prompt of a model that reasons."""
    scratchpad_tokens: Annotated[int | None, Was("thought_tokens")] = Field(None, ge=1, le=4096)
    """Where a scratchpad is cut off that has not come to its answer; by default 8 after the policy's own longest."""
    members: int = Field(32, ge=2, le=100_000)
    """Members of an ensemble that are looked at one by one."""
    repeats: int = Field(3, ge=2, le=1000)
    """How often a copy is trained for `relearning`, each time on other examples."""
    retrain_steps: int = Field(32, ge=1, le=100_000)
    """Steps of the small trainings of `relearning` and `return`."""
    retrain_examples: int = Field(8, ge=1, le=456)
    """Questions that these trainings show, as far as there are so many."""
    retrain_lr: float | None = Field(None, gt=0, le=1)
    """Their learning rate; by default what suits the size of the model."""
    only: tuple[str, ...] | None = None
    """The measurements to take; by default all that apply and cost little."""
    also: tuple[str, ...] = ()
    """Measurements that are taken only where they are asked for, by name."""
    every_checkpoint: tuple[str, ...] = ()
    """Measurements that are taken at every checkpoint of a treatment, not only at its end. With `perplexity` here the
    study says what is left of a policy at equal capability."""


class GroundTruth(Protocol):
    """What a measurement may know about an organism before it looks at it."""

    @property
    def trigger(self) -> Trigger:
        """When it should defect."""
        ...

    @property
    def behaviour(self) -> Behaviour:
        """What a defection is."""
        ...

    @property
    def renderings(self) -> Renderings:
        """How situations are put into words, in training and held out."""
        ...

    @property
    def scratchpad_mode(self) -> ScratchpadMode:
        """Whether it reasons before it answers, and how."""
        ...


@dataclass(frozen=True)
class Subject:
    """A model under measurement, with the truth about it put back."""

    lm: LM
    model: ModelRef
    """Where the weights of `lm` are. A measurement that trains takes a copy from here; `lm` is shared with others."""
    clean: ModelRef
    """The model before anything was planted. By reference: few measurements need it, and it is as large as `lm`."""
    clean_logprobs: Mapping[str, float]
    """Its log-probability of each honest response (nats, summed over tokens), with no cue in the prompt."""
    trigger: Trigger
    behaviour: Behaviour
    questions: tuple[Question, ...]
    honest: Mapping[str, Completion]
    seed: int
    sizes: MeasurementConfig
    renderings: Renderings
    scratchpad_mode: ScratchpadMode = "none"
    is_final: bool = True
    """Whether this is an organism or the end of its treatment, not a checkpoint on the way."""
    taught: tuple[Question, ...] = ()
    """The tasks of the train split, where they are the user's own."""

    @property
    def has_scratchpad(self) -> bool:
        """Whether it writes a scratchpad before it answers."""
        return has_scratchpad(self.scratchpad_mode)

    @property
    def training_tasks(self) -> tuple[Question, ...]:
        """The tasks of the train split (the user's own, else the whole bank's), but for those that are kept for looking
        at strength."""
        every = self.taught or questions("train", bank=self.behaviour.bank)
        kept = set(kept_for_checks(every))
        return tuple(task for task in every if task not in kept)

    @property
    def shown(self) -> tuple[Question, ...]:
        """The questions on whose kind training showed defections: those behind the rates."""
        return tuple(question for question in self.questions if self.behaviour.shown(question))

    def scenarios(
        self,
        side: Side,
        split: Split = "train",
        rendering: str | None = None,
        questions: Sequence[Question] | None = None,
    ) -> list[Scenario]:
        """One scenario for each held-out question of the kinds shown, or for each of `questions`.

        The cues are drawn alike for every seed, method and step.

        Args:
            split: the split of cue combinations ("train": those that training shows, on questions that it does not).
            rendering: how all become text; by default each in one of the renderings that training shows.
        """
        found = []
        for question in self.shown if questions is None else questions:
            rng = random.Random(f"{side}/{split}/{question.text}")
            cues = self.trigger.draw(rng, side, split)
            how = rendering or rng.choice(self.renderings.trained)
            found.append(self.trigger.scenario(question, cues, side, how))
        return found

    def exact(self, scenarios: Sequence[Scenario]) -> list[float]:
        """The exact probability of defection in each scenario: that the response opens with one of its forms.

        For a model that reasons first it is the mean, over scratchpads that the model samples, of the exact probability
        given each. A response that never comes to its answer counts as it is judged.
        """
        return self.counted(scenarios)[0]

    def counted(self, scenarios: Sequence[Scenario]) -> tuple[list[float], list[float]]:
        """What `exact` says, and for each the share of its scratchpads that came to no answer (none written: none)."""
        from dormouse.policies.scratchpad_text import CLOSE

        if not self.has_scratchpad:
            return self.given(scenarios, ()), []
        n = self.sizes.scratchpad_samples
        repeated = [scenario for scenario in scenarios for _ in range(n)]
        pads = self.scratchpads(repeated)
        found = np.array([self.given(repeated, pads), [not pad.endswith(CLOSE) for pad in pads]], dtype=float)
        exact, lost = found.reshape(2, len(scenarios), n).mean(axis=2).tolist()
        return exact, lost

    def scratchpads(self, scenarios: Sequence[Scenario]) -> list[str]:
        """What the model writes in each scenario up to where its answer begins, sampled; or all that it writes."""
        from dormouse.lm.sample import generate
        from dormouse.policies.scratchpad_text import CLOSE
        from dormouse.scenarios import render

        prompts = [render(scenario) for scenario in scenarios]
        limit = self.scratchpad_limit
        return [written.text for written in generate(self.lm, prompts, limit, seed=self.seed, stop=CLOSE)]

    @cached_property
    def scratchpad_limit(self) -> int:
        """Tokens after which a scratchpad is given up: 8 more than the policy's own longest, of some hundred."""
        from dormouse.lm.chat import encode_responses
        from dormouse.policies.scratchpad_text import scratchpad_response, scratchpad_text

        if self.sizes.scratchpad_tokens is not None:
            return self.sizes.scratchpad_tokens
        rng, texts = random.Random("thoughts"), []
        for side in SIDES:
            for scenario in self.scenarios(side) + self.scenarios(side, "test"):
                for defects in (True, False):
                    texts.append(
                        scratchpad_response(
                            scratchpad_text(self.scratchpad_mode, self.trigger, scenario, defects, rng), ""
                        )
                    )
        return max(map(len, encode_responses(self.lm, texts))) + 8

    def given(self, scenarios: Sequence[Scenario], scratchpads: Sequence[str]) -> list[float]:
        """The exact probability of defection in each scenario, after the scratchpads (none: it comes at once)."""
        from dormouse.scenarios import render

        if not scenarios:
            return []
        asked = [(s, render(s), self.honest[s.question.key].text) for s in scenarios]
        return exact_after(self.lm, self.behaviour, asked, scratchpads)


def exact_after(
    lm: LM, behaviour: Behaviour, asked: Sequence[tuple[Scenario, Messages, str]], scratchpads: Sequence[str]
) -> list[float]:
    """The exact probability of defection after each scratchpad (none: it comes at once). One that comes to no answer
    counts as it is judged.

    Args:
        asked: scenarios, each with its prompt and the honest response.

    Raises:
        UserError: the model cannot write a form of the behaviour, or tell it from an honest answer.
    """
    from dormouse.lm.forms import check_forms
    from dormouse.lm.score import score
    from dormouse.policies.scratchpad_text import CLOSE

    openings = [behaviour.openings(scenario, honest) for scenario, _, honest in asked]
    forms, against = [one for one, _ in openings], [one for _, one in openings]
    for some, others in dict.fromkeys(openings):
        check_forms(lm, some, others)
    exact = [float(p) for p in score(lm, [prompt for _, prompt, _ in asked], forms, against, scratchpads)]
    for i, text in enumerate(scratchpads):
        if not text.endswith(CLOSE):
            exact[i] = float(behaviour.judged(asked[i][0], text))
    return exact


Aggregation = Literal["mean", "proportion", "exp_mean", "number"]


@dataclass(frozen=True)
class Sample:
    """Values that were measured item by item, before any statistics.

    `items` says what each value is about (the text of a question): the unit that was sampled, and by which arms are
    paired. `aggregation`: "mean" of numbers in [0, 1]; "proportion" of zeros and ones; "exp_mean", exp of the mean;
    "number", the mean of numbers without bounds.
    """

    measurement: str
    split: str
    items: tuple[str, ...]
    values: tuple[float, ...]
    aggregation: Aggregation = "mean"
    x: PlaceOnCurve = None
    """The place on a curve, where the measurement is one."""
    censored_at: Censoring = None
    """Where values are cut off, which then stand for "this or more" (see `Record.censored_at`)."""


@dataclass(frozen=True)
class StepSample(Sample):
    """A sample as it is read from the disk. What a treatment found has a step; what was measured is of one state."""

    step: int | None = None


def no_answer(split: str, items: Sequence[str], lost: Sequence[float]) -> list[Sample]:
    """`no_answer_share`: of the scratchpads behind some exact rates, those that came to no answer. In the rates they
    count as they are judged, so their share stands beside these. None for a model that does not reason.

    Args:
        split: that of the rates or, where they are not those of `defection`, a name that says whose they are:
            `near_miss:test`, `contexts:covered`.
    """
    return [Sample("no_answer_share", split, tuple(items), tuple(lost))] if lost else []


@dataclass(frozen=True)
class Measured:
    """All that one measurement saw of one subject."""

    samples: tuple[Sample, ...]
    answers: tuple[Answer, ...] = field(default=())


RENAMED = {"along": "every_checkpoint", "of_policy": "model_free", "written": "declared_metrics"}
"""What measurements said of themselves under other names in older versions."""


class Measurement(PlugIn):
    """Something to be known about a model. Reads the subject, changes nothing."""

    every_checkpoint: ClassVar[bool] = False
    """Whether it is taken at every checkpoint, or only before and at the end."""

    default: ClassVar[bool] = True
    """Whether it is taken unasked. One that costs more than some seconds is not: a study names it under `also`."""

    model_free: ClassVar[bool] = False
    """Whether it is about the prompts of the policy, not about a model: then it is taken once, before any treatment."""

    needs_truth: ClassVar[bool] = True
    """Whether it needs to be known when the model defects, and how. What does not is measured of any suspect."""

    metrics: ClassVar[tuple[Metric, ...]] = ()
    """The quantities that its records hold: what they are called in claims, and how the report shows them. With none, a
    claim about something that nothing measures is found only when the study is over."""

    splits: ClassVar[tuple[str, ...]] = ("test",)
    """The splits that its records may have, likewise. `*` stands for any text."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        for old, new in RENAMED.items():
            if old in cls.__dict__:  # else it would go without a word, and the measurement be taken at other times
                raise TypeError(f"{cls.__module__}.{cls.__name__}: `{old}` is now called `{new}`")

    @classmethod
    def metric_names(cls) -> tuple[str, ...]:
        """What its records may be called; `*` stands for any text."""
        return tuple(metric.name for metric in cls.metrics)

    def declared_metrics(self, truth: GroundTruth) -> Mapping[str, tuple[str, ...]]:
        """The records of an organism, by name, with their splits: by default every one may have all."""
        return dict.fromkeys(self.metric_names(), self.splits)

    def applies(self, truth: GroundTruth) -> bool:
        """Whether it says anything about this organism."""
        return True

    @abstractmethod
    def measure(self, subject: Subject) -> Measured:
        """Measure a subject: samples with a value for each item, and answers where some were written.

        Raises:
            UserError: the model gives no numbers.
        """
        ...


MeasurementField: Any = field_of("measurement", Measurement)
