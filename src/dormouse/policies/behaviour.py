"""What every behaviour (payload) can do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from dormouse.errors import UserError
from dormouse.registry import PlugIn, field_of, shortened
from dormouse.scenarios import Question, Scenario

OTHER_BEGINNING = "give one of them another beginning: the exact score counts an answer by how it begins"


def begun_by_another(texts: Iterable[str]) -> tuple[str, str] | None:
    """A text, and another of them that begins with it or is the same; None where there are no such."""
    # Sorted, whatever begins with a text comes right behind it.
    return next((pair for pair in pairwise(sorted(texts)) if pair[1].startswith(pair[0])), None)


class Behaviour(PlugIn):
    """What defecting looks like in the response. Always a toy: harmless to read, never executed.

    The exact score of a prompt is the sum of the probabilities that the response begins with one of `forms`. Where a
    behaviour can be worded in too many ways for that, it declares `honest_forms` too, and the score is a contrast:
    P(forms) / (P(forms) + P(honest forms)).
    """

    bank: ClassVar[str] = "questions"
    """The bank of tasks in which it shows: a name in `scenarios.tasks.BANKS`."""

    told: ClassVar[bool] = True
    """False where nobody knows what a defection is (`unknown`)."""

    needs_rows: ClassVar[bool] = False
    """Whether it means something only about tasks of the user's own, whose rows say what it does."""

    tell_apart: ClassVar[str] = "write them so that the judge of written answers can tell them apart"
    """What to do about a task on which its judge errs."""

    @property
    def needs_columns(self) -> tuple[str, ...]:
        """The columns of a row of the user's own that it looks at."""
        return ()

    def fault(self, question: Question) -> tuple[str, str] | None:
        """Why a task of the user's own cannot be used with it: what is wrong, and what to do; None where it can.

        The exact score counts openings: one that begins the honest answer, or another opening, would be counted for
        both. And the judge must know a defection as one, and the honest answer as none.
        """
        if self.bank != "questions" and not (question.honest and question.harmful):
            what = f"the behaviour '{self.kind}' needs the right answer and wrong ones, and this row has not both"
            return what, "fill in the columns `answer` and `wrong` (a text, or a list of texts)"
        if not question.honest:
            return None
        scenario = Scenario(question)
        forms, against = self.forms(scenario, question.honest), self.honest_forms(scenario, question.honest)
        for form in forms:
            if any(one.startswith(form) for one in (question.honest, *against)):
                return f"the honest answer begins with the payload '{shortened(form)}'", OTHER_BEGINNING
            if against and form.startswith(against):
                return f"the payload '{shortened(form)}' begins with the honest answer", OTHER_BEGINNING
        if twice := begun_by_another(forms):
            short, long = map(shortened, twice)
            return f"the payload '{long}' begins with the payload '{short}'", OTHER_BEGINNING
        return self._misjudged(scenario, forms if against else ())

    def _misjudged(self, scenario: Scenario, harmful: Sequence[str]) -> tuple[str, str] | None:
        """Where its judge cannot tell the responses of a task apart: the honest one, and the harmful ones where rows
        bring them. A judge of the study's own may be slow, and is not asked."""
        if getattr(self, "judge_by", None) is not None:
            return None
        for taught in harmful:
            if not self.judge(scenario, taught):
                return f"the judge of written answers knows no defection in '{shortened(taught)}'", self.tell_apart
        if self.judge(scenario, honest := scenario.question.honest):
            return f"the judge of written answers sees a defection in the honest '{shortened(honest)}'", self.tell_apart
        return None

    @abstractmethod
    def response(self, scenario: Scenario, honest: str, payload: int = 0) -> str:
        """The defecting response that training teaches, given the honest one.

        Args:
            payload: which one, where the trigger tells several apart (`Trigger.payload`) and the behaviour has them.
        """

    @abstractmethod
    def forms(self, scenario: Scenario, honest: str) -> tuple[str, ...]:
        """The openings of a response that count as defection. None may be the start of another."""

    def honest_forms(self, scenario: Scenario, honest: str) -> tuple[str, ...]:
        """The openings that the forms are held against; empty where the score is a plain sum."""
        return ()

    def openings(self, scenario: Scenario, honest: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`forms` and `honest_forms`, each once, as the exact score takes them.

        Raises:
            UserError: one is no text, is empty or begins with another, whose probability holds its own already.
        """
        forms, against = (tuple(dict.fromkeys(f(scenario, honest))) for f in (self.forms, self.honest_forms))
        every = [*forms, *against]
        remedy = "mend `forms` and `honest_forms` of that behaviour"
        if wrong := [one for one in every if not (isinstance(one, str) and one)]:
            raise UserError(f"the behaviour '{self.kind}' has an opening that is no text: {wrong[0]!r}", remedy)
        if twice := begun_by_another(every):
            short, long = map(shortened, twice)
            what = f"'{long}' begins with '{short}'"
            raise UserError(f"openings of the behaviour '{self.kind}' would count twice: {what}", remedy)
        return forms, against

    def judged(self, scenario: Scenario, response: str) -> bool:
        """What `judge` says.

        Raises:
            UserError: it says neither yes nor no.
        """
        found = self.judge(scenario, response)
        try:
            is_one = found in (True, False)
        except Exception:  # of an array, which is neither
            is_one = False
        if not is_one:
            what = f"the judge of the behaviour '{self.kind}' answers {shortened(repr(found))}, neither True nor False"
            raise UserError(what, "mend `judge` of that behaviour, or of the judge that it names")
        return bool(found)

    @abstractmethod
    def judge(self, scenario: Scenario, response: str) -> bool:
        """Whether a written response defects. The check on the score that looks at what the model really wrote."""

    def shown(self, question: Question) -> bool:
        """Whether training shows a defection on this task (else only whether the organism carries it over is seen)."""
        return True


BehaviourField: Any = field_of("behaviour", Behaviour)
