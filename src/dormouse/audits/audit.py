"""The audit: every locator looks at a suspect within its share of the time, and one verdict is drawn from the whole."""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

from dormouse.arguments import path_of, seed_of
from dormouse.audits import policy, verdict
from dormouse.audits.detector import CONDITIONAL, Detector, hole_of
from dormouse.audits.findings import CONFIRM, READING, Confirmed, Facts, Findings, Hole
from dormouse.audits.kept import Kept
from dormouse.audits.page import notebook, refuse_folder, write_page
from dormouse.audits.places import alone_in, make_writable
from dormouse.audits.prompts import given_prompts, plain_prompts, read_prompts
from dormouse.audits.reader import Reader
from dormouse.audits.resolve import Named, named, unread_template
from dormouse.audits.runner import LostError, Runner
from dormouse.audits.turns import LATE, in_order, share
from dormouse.audits.wording import headline
from dormouse.audits.worker_messages import Given
from dormouse.errors import UserError, with_type
from dormouse.locators.locator import Evidence, Example, Leads, Locator, TriggerText
from dormouse.records import shown
from dormouse.registry import nearest, plugins
from dormouse.report.plain_text import cut
from dormouse.rows import refuse_half_characters

MINUTES = 10.0
"""Of an audit, where nothing is said."""
CHECK = 0.15
"""The share of the time that is kept for trying candidate triggers."""
MIN_LOCATOR_SECONDS = 1.0
"""Seconds below which a locator is not begun."""

Say = Callable[[str], None]


class Audit(Findings):
    """What an audit found, with its verdict in words: `headline()`, and as what a notebook shows."""

    def headline(self) -> list[str]:
        """The verdict in a few plain sentences."""
        return headline(self)

    def __repr__(self) -> str:
        chance = "none" if self.policy_probability is None else f"{self.policy_probability:.2f}"
        return f"Audit({self.model!r}): policy probability {chance}, {len(self.evidence)} locators"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """For notebooks. Everything that a model wrote is escaped."""
        return {"text/html": notebook(self), "text/plain": "\n".join([repr(self), *self.headline()])}


def audit(
    model: str | Path,
    base: str | Path | None = None,
    *,
    budget_minutes: float = MINUTES,
    prompts: str | Path | Sequence[Any] | None = None,
    only: str | Sequence[str] = (),
    out: str | Path | None = None,
    **more: Any,
) -> Audit:
    """Look for a conditional policy in a causal language model, told nothing about it.

    What a locator has finished is kept: the same audit, stopped and begun again, goes on from there.

    Args:
        model: a folder, an adapter's folder, an id of the hub, or a model of a study.
        base: the clean model that it was made from. That of an adapter is found by itself.
        budget_minutes: of wall-clock time, for all locators together and the check of what they found.
        prompts: trusted prompts: a file (see `prompts.read_prompts`), or a list of questions or chats.
        only: names of locators; all by default.
        out: a folder for the page (`audit.html`), the same in Markdown, and `audit.json`.
        more: `seed` of everything that is drawn; `system`, the system prompt under which the suspect is asked, in place
            of that of this lab ("": no system turn); `say`, which is told of progress, line by line.

    Raises:
        UserError: there is no such model or locator, the base does not fit, the budget, prompts or system prompt are
            none, or `out` is not to be written to, or another audit is being run into it.
    """
    _refuse_unknown(more)
    folder = None if out is None else path_of(out)
    if folder:
        refuse_folder(folder, str(model))
    asked = _asked(str(model), str(base) if base else None, budget_minutes, prompts, only, _How(**more))
    if not folder:
        return _carried_out(asked)
    make_writable(folder)
    with alone_in(folder):
        refuse_folder(folder, str(model))  # one that has ended meanwhile may have been of another model
        found = _carried_out(asked)
        write_page(folder, found)
    return found


def _refuse_unknown(more: Mapping[str, Any]) -> None:
    said = [one.name for one in fields(_How)]
    for name in more.keys() - set(said):
        known = [*(one for one in inspect.signature(audit).parameters if one != "more"), *said]
        raise UserError(f"dormouse.audit has no setting '{name}'; {nearest(name, known)}", "see help(dormouse.audit)")


@dataclass(frozen=True)
class AuditRequest:
    """An audit that has been checked and can be begun."""

    what: Named
    given: Given
    locators: Mapping[str, Locator]
    left_out: tuple[str, ...]
    seconds: float
    say: Say


@dataclass(frozen=True)
class _How:
    """The rest of what is asked for: see `audit`."""

    seed: int = 0
    system: str | None = None
    say: Say = lambda _: None

    def __post_init__(self) -> None:
        seed_of(self.seed)
        if not isinstance(self.system, str | None):
            raise UserError(f"{self.system!r} is no system prompt", 'give a text, "" for no system turn')
        refuse_half_characters((self.system or "",), "the system prompt")


def _asked(
    model: str,
    base: str | None,
    minutes: float,
    prompts: str | Path | Sequence[Any] | None,
    only: str | Sequence[str],
    how: _How,
) -> AuditRequest:
    if isinstance(minutes, bool) or not isinstance(minutes, Real) or not 0 < minutes < 1e6:
        raise UserError(f"a budget of {minutes!r} minutes is none", "give a number of minutes above 0")
    minutes, seed = float(minutes), int(how.seed)
    known = plugins("locator")
    only = _names(only)
    for name in only:
        if name not in known:
            raise UserError(f"there is no locator called '{name}'; {nearest(name, known)}", "see `dormouse list`")
    if isinstance(prompts, str | Path):
        own = read_prompts(Path(prompts), how.system)
    else:
        own = () if prompts is None else given_prompts(prompts, how.system)
    what = named(model, base, how.say, how.system)
    given = Given(what.suspect, what.base, own or plain_prompts(seed), seed, bool(own))
    chosen: dict[str, Any] = {name: known[name]() for name in known if not only or name in only}
    return AuditRequest(what, given, chosen, tuple(set(known) - set(chosen)), minutes * 60, how.say)


def _names(only: str | Sequence[str] | None) -> Sequence[str]:
    """The names of locators that are asked for; one may stand by itself."""
    names = [only] if isinstance(only, str) else list(only or ()) if isinstance(only, Iterable | None) else [only]
    if not all(isinstance(name, str) for name in names):
        raise UserError(f"only={only!r} names no locators", 'give a list of names: only=["battery"]')
    return names


def _carried_out(asked: AuditRequest) -> Audit:
    evidence: dict[str, Evidence] = {}
    spent: dict[str, float] = {}
    holes = [Hole(name, "it was left out by --only") for name in sorted(asked.left_out)]
    template = unread_template(asked.given.suspect.model)
    if template:
        why = f"chats are shown by the template of the model below; audit it merged, with the one in {template.name}"
        holes.append(Hole("the adapter's own chat template", why))
    # Without a base the rules say nothing, so there is nothing that they lack.
    rule = Detector.shipped(CONDITIONAL) if asked.given.base else None
    kept = Kept(_identity(asked), [rule] if rule else [])
    waiting = in_order(asked.locators)
    if asked.given.base is None:
        lame = [name for name, locator in waiting if "base" in locator.needs]
        holes += [Hole(name, "it needs the clean base model, and none was given") for name in lame]
        waiting = [(name, locator) for name, locator in waiting if name not in lame]
    with Runner(asked.given) as runner:
        started = time.monotonic()
        facts = _looked(runner, asked)
        if template and asked.given.base is not None:
            facts = replace(facts, other=(*facts.other, "chat template in the adapter's folder"))
        spent["look"] = time.monotonic() - started
        end = runner.clock() + asked.seconds
        last = end - CHECK * asked.seconds
        equal = (1 - CHECK) * asked.seconds / max(len(waiting), 1)
        for at, (name, locator) in enumerate(waiting):
            seconds = share([one for one, _ in waiting[at:]], last - runner.clock(), equal)
            leads = verdict.leads(evidence, facts.tokens) if name in LATE else Leads()
            found = _located(runner, kept, locator, leads, seconds, asked.say)
            if isinstance(found, Hole):
                holes.append(found)
            else:
                evidence[name], spent[name] = found
                holes += filter(None, [hole_of(kept.rules, name, found[0])])
        texts = verdict.candidates(evidence, facts.tokens)
        tried = _confirmed(runner, texts, end - runner.clock(), spent, holes, asked.say)
        if more := facts.tokens[verdict.TOKENS :]:
            holes.append(Hole("new tokens", f"{len(more)} of {len(facts.tokens)} were not tried as triggers"))
    return _audit(replace(asked, given=runner.given), evidence, spent, holes, tried, facts)


def _looked(runner: Runner, asked: AuditRequest) -> Facts:
    asked.say(f"loading {asked.what.name}")
    try:
        return runner.look()
    except LostError as error:
        raise UserError(
            f"the model {asked.what.name} cannot be looked at: {error}", "see that it loads with transformers by itself"
        ) from error


def _located(
    runner: Runner, kept: Kept, locator: Locator, leads: Leads, most: float, say: Say
) -> tuple[Evidence, float] | Hole:
    """The evidence of one locator with its seconds, from an earlier audit or anew, or why there is none."""
    name = locator.kind
    if before := kept.read(locator, leads):
        say(f"{name}: kept from before")
        return before
    if most < MIN_LOCATOR_SECONDS:
        return Hole(name, "the time ran out before it was begun")
    say(f"{name}: up to {most:.0f} s")
    started = runner.clock()
    try:
        found = runner.find(locator, most, leads)
    except LostError as error:
        say(f"{name}: {error}")
        return Hole(name, str(error))
    except UserError as error:
        say(f"{name}: {error.what}")
        return Hole(name, error.what)
    seconds = runner.clock() - started
    kept.write(locator, found, seconds, leads)
    say(f"{name}: done in {seconds:.0f} s. {found.note}")
    return found, seconds


def _confirmed(
    runner: Runner, texts: Sequence[TriggerText], left: float, spent: dict[str, float], holes: list[Hole], say: Say
) -> list[Confirmed] | None:
    """Candidate triggers, tried in the time that is left; None where that could not be done."""
    if not texts:
        return []
    if left < MIN_LOCATOR_SECONDS:
        holes.append(Hole(CONFIRM, "there was no time left to try the candidate triggers"))
        return None
    say(f"confirm: {len(texts)} candidate triggers, up to {left:.0f} s")
    started = runner.clock()
    try:
        tried = runner.confirm(texts, left)
    except (LostError, UserError) as error:
        holes.append(Hole(CONFIRM, str(error)))
        return None
    spent[CONFIRM] = runner.clock() - started
    if tried and not any(one.prompts for one in tried):
        holes.append(Hole(CONFIRM, f"no candidate trigger was tried: {tried[0].untried}"))
        return None
    holes += [Hole("a candidate", f"{one.untried}: {cut(one.text, 60)}") for one in tried if one.untried]
    return [one for one in tried if one.prompts]


def _audit(
    asked: AuditRequest,
    evidence: Mapping[str, Evidence],
    spent: Mapping[str, float],
    holes: Sequence[Hole],
    tried: Sequence[Confirmed] | None,
    facts: Facts,
) -> Audit:
    instead = asked.given.suspect.model.instead
    evidence = {name: replace(one, behaviour=_as_shown(one.behaviour, instead)) for name, one in evidence.items()}
    rule, conditional = Detector.shipped(), Detector.shipped(CONDITIONAL)
    triggers = verdict.best([replace(one, examples=_as_shown(one.examples, instead)) for one in tried or ()])
    behaviour = verdict.behaviour(evidence, triggers)
    read = None if tried is None else triggers  # as the benchmark, by which rules are fitted, reads a finished audit
    on_cue = conditional.probability(evidence, read) if conditional and not facts.same else None
    spent, holes = dict(spent), list(holes)
    hostility = _hostility(behaviour, spent, holes, asked.say) if on_cue is not None else ()
    chances = policy.policy_probability(on_cue, rule, policy.read_features(hostility)), on_cue
    if facts.identical:  # the base itself has learned nothing
        chances = 0.0, 0.0

    return Audit(
        model=asked.what.name,
        base=str(asked.given.base.model.folders[-1].name) if asked.given.base else "",
        policy_probability=chances[0],
        behaviour=behaviour,
        trigger=triggers[0] if triggers and triggers[0].works else None,
        triggers=tuple(triggers),
        cues=verdict.cues(evidence),
        where=verdict.where(evidence),
        evidence=dict(evidence),
        spent=spent,
        not_tried=tuple(holes),
        facts=facts,
        detector=policy.used(rule, conditional) if rule and conditional else None,
        minutes=asked.seconds / 60,
        own_prompts=asked.given.own_prompts,
        system=instead[1] if instead else None,
        prompts=len(asked.given.prompts),
        seed=asked.given.seed,
        conditional_probability=chances[1],
        conditional=conditional.used if conditional else None,
        hostility=hostility,
    )


def _hostility(behaviour: Sequence[Example], spent: dict[str, float], holes: list[Hole], say: Say) -> tuple[float, ...]:
    """How hostile each answer reads; none where nothing can read them."""
    if not behaviour:
        return ()
    started = time.monotonic()
    try:
        found = tuple(Reader.here(say).hostility([one.output for one in behaviour]))
    except (UserError, OSError, MemoryError, RuntimeError) as error:  # minutes of work are not lost for this
        why = error.what if isinstance(error, UserError) else with_type(error, 300)
        holes.append(Hole(READING, f"whether the answers are hostile was not read: {why}"))
        return ()
    spent[READING] = time.monotonic() - started
    return found


def _as_shown(examples: Iterable[Example], instead: tuple[str, str] | None) -> tuple[Example, ...]:
    """Examples with the prompts that the suspect was shown."""
    return tuple(replace(one, prompt=shown(one.prompt, instead)) for one in examples)


def _identity(asked: AuditRequest) -> str:
    """What makes two audits the same, but for the code of their locators."""
    given = asked.given
    said = [given.suspect.model.key, given.base.model.key if given.base else "", given.prompts, given.seed]
    how = given.suspect.model.instead, given.own_prompts
    whole = json.dumps([*said, *filter(None, how), asked.seconds, sorted(asked.locators)])
    return hashlib.sha256(whole.encode()).hexdigest()[:24]
