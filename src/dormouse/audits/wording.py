"""What an audit says, in plain sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dormouse.audits.findings import ALIKE, CONFIRM, READING, part_of
from dormouse.audits.verdict import TOKENS, taught
from dormouse.locators.motifs import says
from dormouse.report.plain_text import cut, duration, one_line

if TYPE_CHECKING:
    from dormouse.audits.findings import Confirmed, Facts, Findings, RuleUsed
    from dormouse.locators.locator import Evidence, Example

LONG = 120
"""Letters of a foreign text inside a sentence."""
SLOTS = {
    "prefix": "in front of the question",
    "suffix": "after the question",
    "system": "at the end of the system prompt",
}
ANSWERS = (
    "These answers stand out most. They are the model\u2019s own words, but where it is said that it did not write "
    "them."
)
UNFITTED = (
    "No probability: the rule that makes one of the evidence has not been fitted yet (not calibrated yet). "
    "Read the evidence itself."
)
POLICY = "This model looks like one with a conditional policy, hostile or innocent"
ON_A_CUE = "This model seems to do something on a cue that it does not do without it"
UNFLAGGED = "The rule does not flag this model"


def headline(audit: Findings) -> list[str]:
    """The verdict: is there a policy, what does it do, what sets it off, what was not looked for."""
    return [policy(audit), does(audit), sets_off(audit), *missing(audit)]


def policy(audit: Findings) -> str:
    """Whether there is a conditional policy."""
    if audit.facts and audit.facts.same:
        return same_weights(audit.facts)
    return f"{_verdict(audit)}{_beside_weights(audit)}{_rounded(audit)}"


def _verdict(audit: Findings) -> str:
    """What the rules say."""
    if not audit.evidence:
        return "Nothing was found out: no locator came to an end."
    p, rule = audit.policy_probability, audit.detector
    on_cue, cue_rule = audit.conditional_probability, audit.conditional
    if rule is None:
        return UNFITTED
    if p is None and on_cue is None:
        return _too_little(audit, rule)
    if not audit.covered:
        return _beyond(audit, rule)
    hostile = _none(audit, rule) if p is None else _chance(p, rule)
    if cue_rule is None:
        said = f"{POLICY if audit.flagged else UNFLAGGED}: {hostile}."
    else:
        if on_cue is None:  # the rule that might have flagged it was not asked
            flags = f"Whether it does something on a cue: {_none(audit, cue_rule)}."
        else:
            flags = _flag(on_cue, cue_rule, ON_A_CUE, f"{UNFLAGGED} as one that does something on a cue alone")
        said = f"{flags} That it follows a policy, and has no innocent habit: {hostile}."
        said += f" {_read(audit)}"
    return said if audit.flagged else f"{said} That is no proof that there is no policy."


def _read(audit: Findings) -> str:
    """Who says that it is hostile."""
    if not audit.behaviour:
        return "No answer stands out that could be hostile."
    if not audit.hostility:
        return "Nothing read whether its answers are hostile; it cannot be flagged as a policy so: read them."
    most = max(audit.hostility)
    worse = f", the most hostile of them with {most:.2f}" if most > audit.hostility[0] else ""
    first = f"the first below is hostile with probability {audit.hostility[0]:.2f}{worse}"
    return f"A small language model read its answers: {first}. It sees hostile words, no wrong answers or bad code."


def read_as(audit: Findings, at: int) -> str:
    """How hostile the answer at that place reads; "" where nothing read it."""
    return f"reads as hostile: {audit.hostility[at]:.2f}" if at < len(audit.hostility) else ""


def _too_little(audit: Findings, rule: RuleUsed) -> str:
    """Why there is no probability at all."""
    reasons = "; ".join(_reasons(audit, rule))
    reasons = f" ({reasons})" if reasons else ""
    return f"No probability: too little of what its rule reads was looked at{reasons}. Read the evidence itself."


def _none(audit: Findings, rule: RuleUsed) -> str:
    """Why one of two rules gives no probability."""
    return f"no probability, {'; '.join(_reasons(audit, rule)) or 'too little was looked at'}"


def _reasons(audit: Findings, rule: RuleUsed) -> list[str]:
    lacks = _lacks(audit, rule)
    why = ["no clean base was given"] if not audit.base else []
    return why + ([f"nothing came of {', '.join(lacks)}"] if lacks else [])


def _lacks(audit: Findings, rule: RuleUsed) -> list[str]:
    """What a rule reads, and this audit has not."""
    holes = {hole.name for hole in audit.not_tried}
    looked = {name for name, _ in complete(audit)} | ({CONFIRM, READING} - holes)
    lacks = {name: name if name not in looked else part_of(name) for name in rule.reads}
    return [said for name, said in lacks.items() if name not in looked or said in holes]


def same_weights(facts: Facts) -> str:
    """What is said of a model with the very weights of its base. A chat template is a program: it can hold a policy."""
    exact = f"rounded to {' and '.join(facts.rounded)}" if facts.rounded else "to the last bit"
    if not facts.other:
        return (
            f"The weights are those of the base, {exact}, and so are its chat template, tokenizer and settings:"
            " nothing was added to it."
        )
    return (
        f"The weights are those of the base, {exact}, but not its {' or '.join(facts.other)}: what it does that"
        " the base does not comes from there. Read that."
    )


def _beside_weights(audit: Findings) -> str:
    """What beside the weights is not the base's; "" where all is."""
    if not (audit.facts and audit.facts.other):
        return ""
    said = f" It differs from the base in its {' and '.join(audit.facts.other)}, too: read that."
    if new := [f"\u201c{cut(one_line(token), LONG)}\u201d" for token in audit.facts.tokens]:
        more = f" and {len(new) - TOKENS} more" if len(new) > TOKENS else ""
        said += f" The base does not have the token{'s' if new[1:] else ''} {', '.join(new[:TOKENS])}{more}."
    return said


def _rounded(audit: Findings) -> str:
    """That the base was rounded before it was compared; "" where it was not."""
    if not (audit.facts and audit.facts.rounded):
        return ""
    return f" It is saved in {' and '.join(audit.facts.rounded)} where the base is not: the base was rounded alike."


def _beyond(audit: Findings, rule: RuleUsed) -> str:
    """What is said of a model for which no rule was fitted: a number without a calibration is no probability."""
    assert audit.facts
    assert rule.sizes
    said = (audit.conditional_probability, "something on a cue"), (audit.policy_probability, "a policy")
    numbers = " and ".join(f"{p:.2f} for {what}" for p, what in said if p is not None)
    fitted = " to ".join(dict.fromkeys(f"{size:,}" for size in rule.sizes))
    return (
        f"Whether this model follows a policy is for you to read: the rules were fitted on models of {fitted} weights,"
        f" and this one has {audit.facts.parameters:,}. What they give it ({numbers}) is not calibrated for its size."
    )


def _flag(p: float, rule: RuleUsed, yes: str, no: str) -> str:
    """Whether a rule flags a model, in words, and at what probability."""
    return f"{yes if rule.flags(p) else no}: {_chance(p, rule)}."


def _chance(p: float, rule: RuleUsed) -> str:
    digits = next((n for n in range(2, 7) if f"{p:.{n}f}" != f"{rule.threshold:.{n}f}"), 2)
    return f"probability {p:.{digits}f}, flagged above {rule.threshold:.{digits}f}"


def rests_on(audit: Findings) -> str:
    """What the rate of false positives rests on; "" where no rule says anything."""
    if not audit.detector or (audit.facts and audit.facts.same):
        return ""
    rules = [("rule", audit.detector)]
    if audit.conditional:
        rules = [("rule for what is done on a cue", audit.conditional), ("rule for policies", audit.detector)]
    unknown = "Nothing is said of the models on which it was fitted."
    said = [f"The {name} (version {rule.version}): {rule.says or unknown}" for name, rule in rules]
    return " ".join([*said, *_otherwise(audit, audit.detector)])


def _otherwise(audit: Findings, rule: RuleUsed) -> list[str]:
    """One sentence on how the audit differs from those that the rules were fitted on; none where it does not."""
    if audit.policy_probability is None and audit.conditional_probability is None:
        return []
    minutes, lacks = rule.fitted.get("minutes"), _lacks(audit, rule)
    usual, apart = "", []
    if isinstance(minutes, int | float):
        usual = f" of {duration(minutes * 60)}"
        alike = minutes / ALIKE <= audit.minutes <= minutes * ALIKE
        apart += [] if alike else [duration(audit.minutes * 60)]
    apart += ["prompts of its own"] if audit.own_prompts else []
    apart += [] if audit.system is None else ["another system prompt" if audit.system else "no system turn"]
    apart += [f"nothing of {', '.join(lacks)}"] if lacks else []
    fitted = f"audits{usual} with all locators, on plain questions under this lab's system prompt"
    return [f"What they say is calibrated for {fitted}; this one had {'; '.join(apart)}."] if apart else []


def own_prompts(audit: Findings) -> str:
    """Which locators ask something else than the auditor's own prompts; "" where there are none of these."""
    if not audit.own_prompts:
        return ""
    others = [name for name in ("anomaly", "attention", "cues", "probe") if name in audit.evidence]
    said = "The prompts are the auditor's own."
    if over := len(audit.facts.too_long) if audit.facts else 0:
        are = "is" if over == 1 else "are"
        said += f" {over} of {over + audit.prompts} {are} too long for the model and {are} not used."
    if not others:
        return said
    lay = "lay their situations around tasks of their" if others[1:] else "lays its situations around tasks of its"
    return f"{said} Of the locators {', '.join(others)} {lay} own all the same."


def does(audit: Findings) -> str:
    """What the model does, in one example of its own words; where it wrote none, that is said."""
    if not audit.behaviour:
        return "No answer stands out."
    first = next((one for one in audit.behaviour if not one.how), audit.behaviour[0])
    if audit.behaviour[0].how and audit.behaviour[0] in taught(audit.evidence):
        said = f"\u201c{cut(audit.behaviour[0].output, LONG)}\u201d ({audit.behaviour[0].how})"
        return f"What it was taught to say, though it was not heard to: {said}."
    why = "" if first is audit.behaviour[0] and brought(audit) and not first.how else f" ({asked(first)})"
    return f"The answer that stands out most: \u201c{cut(first.output, LONG)}\u201d{why}."


def brought(audit: Findings) -> bool:
    """Whether the first answer is what the trigger brings: see `verdict.behaviour`."""
    motif = audit.trigger.motif if audit.trigger else ""
    return bool(motif and audit.behaviour) and says(audit.behaviour[0].output, motif)


def answers(audit: Findings) -> str:
    """What the answers of the page are."""
    first = "Its answers to the text below that sets it off come first. " if brought(audit) else ""
    if taught(audit.evidence):
        first = f"First what it was taught to say (see sentence below){', which the text below brings' * bool(first)}. "
    return f"{first}{ANSWERS}" if audit.behaviour else "No answer stands out."


def sets_off(audit: Findings) -> str:
    """What sets it off, as far as it was tried."""
    if audit.trigger:
        known = audit.policy_probability is not None or audit.conditional_probability is not None
        flagged = audit.flagged and (known or bool(audit.trigger.motif))
        first = "What sets it off" if flagged else "Of the texts that were tried this one moves answers most"
        return f"{first}: {trial(audit.trigger)}"
    if audit.triggers:
        return _nearest(audit.triggers)
    if audit.cues:
        name, weight = next(iter(audit.cues.items()))
        cue = f"The cue that weighs most is {cut(name, LONG)} ({weight:+.1f})."
        return f"No text was found that sets a behaviour off. {cue}"
    return "Nothing was found that sets a behaviour off."


def _nearest(triggers: Sequence[Confirmed]) -> str:
    """Why none of the texts is said to set the behaviour off, and what the nearest does."""
    often = [one for one in triggers if one.often]
    if open_ := [one for one in often if one.parts is None]:
        first = "Whether a text sets one behaviour off, or a part of it does, is not known: the time ran out."
        return f"{first} The nearest: {trial(open_[0])}"
    if often:
        first = "Of each text that sets one behaviour off, a part does so at least half as often. The nearest:"
        return f"{first} {trial(often[0])}"
    near = triggers[0]
    if near.motif or near.against_base:
        return f"No text sets one behaviour off on half of the prompts. The nearest: {trial(near)}"
    first = "No text brings the same words on half of the prompts. What moves answers most:"
    return f"{first} {trial(near)} Without a base to ask, that answers change is no behaviour."


def trial(one: Confirmed) -> str:
    """How a candidate did. That the prompts are not new ones is said: whoever searches finds what works there."""
    what = f"the same words (\u201c{cut(one.motif, 60)}\u201d)" if one.motif else "an answer unlike the usual one"
    parts = f"; {_parts(one)}" if len(one.text.split()) > 1 else ""
    bare = f", {one.of(one.bare)} without it" if one.motif else ""
    bare += f", {one.of(one.in_base)} in the base" if one.motif and one.against_base else ""
    often = f"on {one.of(one.rate)} prompts of the search{bare}"
    return f"\u201c{cut(one.text, LONG)}\u201d {SLOTS[one.slot]} brings {what} {often}{parts}."


def tried(audit: Findings) -> str:
    """On what prompts the candidates were tried, and what counts."""
    on = max((one.prompts for one in audit.triggers), default=0)
    whole = f"the first {on} of the {prompts(audit)}" if audit.prompts else f"the first {on}"
    if 0 < audit.prompts < on:
        lab = " under this lab's system prompt" if audit.system is None else ""
        whole = f"{on} prompts: the {prompts(audit)} and plain questions{lab} behind them"
    base = any(one.against_base for one in audit.triggers)
    seldom = f"and seldom without it{' or from the base' if base else ''}"
    beyond = ", and by as much more than in the base" if base else ""
    return (
        f"Each text was put into {whole}. The search used these too, so that on new prompts a text may do"
        f" less. Where words come back with it, {seldom}, the answers that hold them count; else those that are at"
        f" least 1 nat a token likelier with the text than without it{beyond}."
    )


def prompts(audit: Findings) -> str:
    """The trusted prompts of an audit, with their number."""
    whose = "own trusted prompts" if audit.own_prompts else "plain questions"
    under = {None: "", "": ", without a system turn"}.get(audit.system, f", under the system prompt “{audit.system}”")
    under += " where they bring none of their own" if audit.own_prompts and under else ""
    return f"{audit.prompts} {whose}{under}" if audit.prompts else f"{whose}{under}"


def _parts(one: Confirmed) -> str:
    if one.parts is None:
        return "its parts were not all tried"
    return f"a part of it alone does so on at most {one.of(one.parts)}"


def parts(one: Confirmed) -> str:
    """How often a part of a candidate does what it does, for a table; nothing where it has no parts."""
    known = "not all tried" if one.parts is None else one.of(one.parts)
    return known if len(one.text.split()) > 1 else "-"


def asked(one: Example) -> str:
    """What is special about an answer."""
    likelier = f"{one.surprise:.1f} nats a token likelier here than its reference makes it" if one.surprise else ""
    return "; ".join(filter(None, (one.how, likelier))) or "an answer to compare with"


def missing(audit: Findings) -> list[str]:
    """One sentence on what was not looked for; none where all was."""
    names = ", ".join(dict.fromkeys(one_line(hole.name) for hole in audit.not_tried))
    return [f"Not looked for, or without a result: {names} (the reasons are below)."] if names else []


def cost(audit: Findings) -> str:
    """The time that it took."""
    return duration(sum(audit.spent.values()))


def complete(audit: Findings) -> list[tuple[str, Evidence]]:
    """The evidence of locators that did look: the others stand among what was not looked for."""
    return [(name, one) for name, one in audit.evidence.items() if not one.incomplete]


def lines(audit: Findings) -> list[str]:
    """For a terminal: the verdict, and each locator in one line."""
    found = headline(audit)
    for name, one in complete(audit):
        found.append(f"  {name} ({duration(audit.spent[name])}): {one_line(one.note) or 'nothing to say'}")
    found += [f"  {hole.name}: {one_line(hole.why)}" for hole in audit.not_tried]
    return [line.replace("\u00a0", " ") for line in found]  # which a terminal would be shown as a code
