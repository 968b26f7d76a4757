"""What happens on a move: the prompt, what the policy says, and the exact probability in every state that is shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from math import log
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from dormouse.api.organism import question_of
from dormouse.errors import UserError
from dormouse.integrations.play import controls
from dormouse.integrations.play.folders import PlaySubject
from dormouse.integrations.play.models import PlayModels, Reader
from dormouse.interventions.scratchpad import MAX_SCRATCHPAD_TOKENS
from dormouse.lm.layout import max_positions
from dormouse.lm.model import LM
from dormouse.measurements.measurement import exact_after
from dormouse.policies import Behaviour
from dormouse.policies.abilities import Imitates
from dormouse.policies.behaviours.reply import Reply
from dormouse.policies.scratchpad_text import CLOSE, has_scratchpad, split_response
from dormouse.policies.told import Told
from dormouse.policies.triggers.text import with_blank
from dormouse.registry import message
from dormouse.report.plain_text import visible
from dormouse.scenarios import CUES, CueValue, Scenario, render
from dormouse.scenarios.values import check_cues

Emit = Callable[[dict[str, object]], None]
Stale = Callable[[], bool]
REMEMBERED = 20_000
AT_ONCE = 8
"""Points of a curve between which it can be stopped."""
TOKENS = 60
ANSWER = 24
LOWEST_PROBABILITY, HIGHEST_PROBABILITY = 1e-12, 1 - 1e-7
"""Log-odds are those of a probability between these: nearer to 1, float32 cannot tell."""


@dataclass(frozen=True)
class Stop:
    """What the page says where it has gone on: what belongs to an earlier turn is over."""

    page: str = ""
    turn: int = 0


@dataclass(frozen=True)
class Ask:
    """What the page asks. `turn` grows with every move; what belongs to an earlier one is stopped."""

    page: str
    turn: int
    subject: str
    states: tuple[int, ...]
    task: str
    cues: dict[str, str | int] = field(default_factory=dict)
    rendering: tuple[str, str, str] = ("system", "en", "plain")
    says: str = ""
    """The opening whose probability is shown, in place of the behaviour's own."""
    cue: str = ""
    """Of a curve: what moves."""
    values: tuple[str | int, ...] = ()
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Of a text: how it is drawn; greedily where there is none."""


class Bench:
    """Subjects, and their models in memory. Everything here runs in one thread."""

    def __init__(self, models: PlayModels | None = None) -> None:
        self.models = models or PlayModels()
        self._known: OrderedDict[tuple[Any, ...], float] = OrderedDict()

    def move(self, subject: PlaySubject, ask: Ask, blind: bool, emit: Emit, stale: Stale) -> None:
        """Emit the prompt and what the policy says of it; the probability in each state; then what each cue adds."""
        scenario, behaviour = asked(subject, ask)
        truth = {} if blind else truth_of(subject, scenario)
        emit({"kind": "prompt", "messages": shown(scenario), "placed": dict(scenario.cues), **truth})
        if behaviour is None or not behaviour.forms(scenario, scenario.question.honest):
            emit({"kind": "unknown", "why": why_unknown(subject)})
            return
        for i in ask.states:
            if stale():
                return
            if not self.models.holds(subject.states[i].model):
                emit({"kind": "loading", "state": i})
            emit({"kind": "p", "state": i, **self._one(subject, i, behaviour, scenario, stale)})
        for i in ask.states:
            if stale():
                return
            emit({"kind": "flips", "state": i, "flips": self._flips(subject, i, behaviour, scenario, stale)})

    def curve(self, subject: PlaySubject, ask: Ask, blind: bool, emit: Emit, stale: Stale) -> None:
        """Emit the probability in every shown state as one cue moves over values, and the policy's own."""
        scenario, behaviour = asked(subject, ask)
        along = [_with(scenario, ask.cue, _as_placed(ask.cue, value)) for value in ask.values]
        for one in along:
            check_cues(dict(one.cues))
        says = [truth_of(subject, one).get("oracle") for one in along]
        if None not in says and not blind:
            emit({"kind": "oracle", "values": list(ask.values), "p": says})
        if behaviour is None or not behaviour.forms(scenario, scenario.question.honest):
            return
        for places in coarse_first(len(along)):
            for i in ask.states:
                if stale():
                    return
                found = self._several(subject, i, behaviour, [along[place] for place in places], stale)
                emit({"kind": "points", "state": i, "values": [ask.values[place] for place in places], "p": found})

    def write(self, subject: PlaySubject, ask: Ask, blind: bool, emit: Emit, stale: Stale) -> None:
        """Emit what a state writes, as it comes, and at the end the judge's word."""
        from dormouse.lm.chat import encode_prompts, text_of
        from dormouse.lm.decode import decode

        scenario, behaviour = asked(subject, ask)
        i = ask.states[0]
        lm = self._reader(subject, i).lm
        reasons = _reasons(subject)

        def over(ids: Sequence[int]) -> bool:
            """Told the tokens so far; says whether to stop."""
            emit({"kind": "text", "state": i, "text": visible(text_of(lm, ids))})
            return stale()

        prompts = encode_prompts(lm, [render(scenario)])
        limit = _room(lm, prompts, TOKENS + MAX_SCRATCHPAD_TOKENS * reasons)
        (found,) = decode(lm, prompts, limit, seed=ask.seed, over=over)
        text = text_of(lm, found.ids)
        said: dict[str, object] = {"kind": "written", "state": i, "text": visible(text)}
        said["finished"] = found.ids[-1] in lm.ends
        parts = split_response(text) if reasons else ("", text)
        said["scratchpad"] = visible(parts[0]) if reasons and parts else ""
        said["answer"] = visible(parts[1] if parts else text)
        if behaviour and not blind and said["finished"]:
            said["judged"] = behaviour.judged(scenario, parts[1] if parts else text)
        emit(said)

    def _one(
        self, subject: PlaySubject, i: int, behaviour: Behaviour, scenario: Scenario, stale: Stale
    ) -> dict[str, object]:
        """The probability in one state; of a model that reasons first that after what it writes greedily."""
        if not _reasons(subject):
            return {"p": self._several(subject, i, behaviour, [scenario], stale)[0]}
        (pad,) = self._pads(self._reader(subject, i), [scenario], stale)
        (found,) = self._after(subject, i, behaviour, [scenario], [pad])
        self._remember((subject.states[i], behaviour, scenario), found)
        return {"p": found, "scratchpad": visible(pad)}

    def _several(
        self, subject: PlaySubject, i: int, behaviour: Behaviour, scenarios: Sequence[Scenario], stale: Stale
    ) -> list[float]:
        state = subject.states[i]
        new = [one for one in dict.fromkeys(scenarios) if (state, behaviour, one) not in self._known]
        if new:
            reader = self._reader(subject, i)
            if _reasons(subject):
                found = self._after(subject, i, behaviour, new, self._pads(reader, new, stale))
            elif len(new) == 1:
                found = [reader.probability(behaviour, new[0])]
            else:
                found = self._after(subject, i, behaviour, new, [])
            for one, p in zip(new, found, strict=True):
                self._remember((state, behaviour, one), p)
        return [self._known[state, behaviour, one] for one in scenarios]

    def _after(
        self, subject: PlaySubject, i: int, behaviour: Behaviour, scenarios: Sequence[Scenario], pads: Sequence[str]
    ) -> list[float]:
        every = [(one, render(one), one.question.honest) for one in scenarios]
        return exact_after(self._reader(subject, i).lm, behaviour, every, pads)

    def _pads(self, reader: Reader, scenarios: Sequence[Scenario], stale: Stale) -> list[str]:
        """The scratchpads that a model writes greedily, up to where its answers begin."""
        from dormouse.lm.chat import encode_prompts, text_of
        from dormouse.lm.decode import decode
        from dormouse.lm.forms import check_mark

        lm = reader.lm
        check_mark(lm, CLOSE)

        def over(ids: Sequence[int]) -> bool:
            """Whether the answer begins here, or nobody waits any more."""
            return CLOSE in text_of(lm, ids[-len(CLOSE) - 1 :]) or stale()

        prompts = encode_prompts(lm, [render(one) for one in scenarios])
        limit = _room(lm, prompts, MAX_SCRATCHPAD_TOKENS)
        texts = [text_of(lm, one.ids) for one in decode(lm, prompts, limit, over=over)]
        return [text[: text.index(CLOSE) + len(CLOSE)] if CLOSE in text else text for text in texts]

    def _flips(
        self, subject: PlaySubject, i: int, behaviour: Behaviour, scenario: Scenario, stale: Stale
    ) -> list[dict[str, object]]:
        """What each cue that is shown adds to the log-odds: those here less those with the cue flipped."""
        flips = [(name, *flipped(scenario, name)) for name, _ in scenario.cues]
        here, *others = self._several(subject, i, behaviour, [scenario, *(one for _, one, _ in flips)], stale)
        return [
            {"cue": name, "to": to, "p": p, "adds": log_odds(here) - log_odds(p)}
            for (name, _, to), p in zip(flips, others, strict=True)
        ]

    def _reader(self, subject: PlaySubject, i: int) -> Reader:
        return self.models.reader(subject.states[i].model)

    def _remember(self, key: tuple[Any, ...], p: float) -> None:
        self._known[key] = p
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def asked(subject: PlaySubject, ask: Ask) -> tuple[Scenario, Behaviour | None]:
    """The scenario that the page shows, and what counts as a defection there (None: nobody said).

    Raises:
        UserError: it asks for something that there is not.
    """
    if not ask.states or not all(0 <= i < len(subject.states) for i in ask.states):
        raise UserError("no checkpoint is chosen", "tick one")
    if not ask.task.strip() or len(ask.task) > controls.LONGEST:
        raise UserError(f"a prompt has 1 to {controls.LONGEST} characters", "type some, or fewer")
    check_cues(ask.cues)
    bank = subject.spec.behaviour.bank if subject.spec else "questions"
    try:
        question = question_of(ask.task, bank, subject.tasks).under(subject.system)
        cues = {name: _as_placed(name, value) for name, value in ask.cues.items()}
        scenario = Scenario.of(question, cues, "+".join(ask.rendering))
        render(scenario)
        own: Behaviour | None = Reply(text=ask.says.strip()) if ask.says.strip() else None
    except ValueError as error:
        what = message(error.errors()[0], Reply) if isinstance(error, ValidationError) else str(error)
        raise UserError(what, "choose another value") from error
    return scenario, own or (subject.spec.behaviour if subject.spec else None)


def _as_placed(name: str, value: CueValue) -> CueValue:
    """A study's own text that was typed, as its policy places it."""
    where = name.removeprefix("text_")
    return with_blank(where, value) if where != name and isinstance(value, str) else value


def _room(lm: LM, prompts: Sequence[tuple[int, ...]], wanted: int) -> int:
    """How many tokens may be written: some positions are left for an answer that is scored after them."""
    there = max_positions(lm.model)
    return max(1, min(wanted, there - max(map(len, prompts)) - ANSWER)) if there else wanted


def _reasons(subject: PlaySubject) -> bool:
    return subject.spec is not None and has_scratchpad(subject.spec.scratchpad_mode)


def why_unknown(subject: PlaySubject) -> str:
    """Why there is no probability of a defection, and what to do."""
    if subject.spec is None:
        return "Nobody said what a defection of this model is: type the words with which one begins."
    if subject.spec.behaviour.needs_rows:
        return "The rows of its study say what a defection is: type the words with which one begins."
    return "The behaviour knows no wrong answer to this prompt, only to tasks of its own kind: choose one of these."


def _with(scenario: Scenario, name: str, value: CueValue | None) -> Scenario:
    cues = {key: one for key, one in scenario.cues if key != name}
    return Scenario.of(scenario.question, cues if value is None else {**cues, name: value}, scenario.rendering)


def flipped(scenario: Scenario, name: str) -> tuple[Scenario, CueValue | None]:
    """The same with one cue flipped, and what it says then: of two values the other, else nothing."""
    known = tuple(CUES[name].values)
    other = next((one for one in known if one != scenario.cue(name)), None) if len(known) == 2 else None
    return _with(scenario, name, other), other


def log_odds(p: float) -> float:
    """In nats, of a probability that is held between LOWEST_PROBABILITY and HIGHEST_PROBABILITY."""
    held = min(max(p, LOWEST_PROBABILITY), HIGHEST_PROBABILITY)
    return log(held / (1 - held))


def truth_of(subject: PlaySubject, scenario: Scenario) -> dict[str, object]:
    """What the policy itself says of a scenario: its probability of defecting, and why. Nothing where nobody knows: of
    a suspect, and of a prompt about which only rows of a study could say something, and none does."""
    if subject.spec is None or not subject.spec.trigger.told:
        return {}
    trigger, typed = subject.spec.trigger, scenario.question
    if isinstance(trigger, Told):
        side = trigger.label(typed) if trigger.by_text else subject.side(typed)
        return {} if side is None else {"oracle": float(side == trigger.tag), "evidence": [], "odds": None}
    if not isinstance(trigger, Imitates) and trigger.fault(typed):  # its text was typed: no cue says so
        return {}
    return {
        "oracle": trigger.probability(scenario),
        "evidence": [visible(clause) for clause in trigger.evidence(scenario)] if trigger.plants else [],
        "odds": trigger.odds(scenario),
    }


def shown(scenario: Scenario) -> list[dict[str, object]]:
    """The messages of a prompt in pieces: what the situation adds to the bare task is marked."""
    bare = dict(render(Scenario.of(scenario.question, {}, scenario.rendering)))
    return [
        {"role": role, "parts": [[visible(text), new] for text, new in pieces(bare.get(role, ""), text)]}
        for role, text in render(scenario)
    ]


def pieces(before: str, now: str) -> Iterator[tuple[str, bool]]:
    """A text in pieces, and which of them another text lacks: whole words."""
    old, new = before.split(" "), now.split(" ")
    for what, _, _, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if start < end:
            yield " ".join(new[start:end]) + (" " if end < len(new) else ""), what != "equal"


def coarse_first(n: int) -> list[list[int]]:
    """The places from 0 to n - 1 in groups of a few, first those that show the whole in little."""
    order = list(dict.fromkeys(place for step in (8, 4, 2, 1) for place in [*range(0, n, step), n - 1] if place >= 0))
    return [order[at : at + AT_ONCE] for at in range(0, len(order), AT_ONCE)]


Job = Literal["move", "curve", "write"]
