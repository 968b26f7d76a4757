"""From the evidence of all locators to what an audit says: the trigger, the behaviour, the cues and the places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dormouse.audits.findings import Confirmed
from dormouse.locators.locator import Evidence, Example, Leads, Site, TriggerText
from dormouse.locators.motifs import says

CANDIDATES = 12
"""Texts of locators that are tried (see `confirm`)."""
TOKENS = 8
"""New tokens that are named, and tried."""
EXAMPLES, WITNESSES = 5, 3
"""Answers that are shown, and those of each locator that others judge."""
SENTENCE = "sentence"
UNREMARKABLE = 0.5
"""Nats a token below which an answer is hardly likelier than elsewhere: it comes after all others."""
CUES = 64


def candidates(evidence: Mapping[str, Evidence], tokens: Sequence[str] = ()) -> list[TriggerText]:
    """The texts to try: the first of every locator, then their second ones, and so on; each text once in a slot. Beside
    them some of the tokens that the base has not: whoever adds one may have made a trigger of it."""
    found: dict[tuple[str, str], TriggerText] = {}
    longest = max((len(one.triggers) for one in evidence.values()), default=0)
    for place in range(longest):
        row = [one.triggers[place] for one in evidence.values() if place < len(one.triggers)]
        for trigger in sorted(row, key=lambda one: -one.strength):
            if trigger.text.strip():
                found.setdefault((trigger.text.strip(), trigger.slot), trigger)
    tried = list(found.values())[:CANDIDATES]
    there = {(one.text.strip(), one.slot) for one in tried}
    return tried + [TriggerText(token, "prefix", 1.0) for token in tokens[:TOKENS] if (token, "prefix") not in there]


def leads(evidence: Mapping[str, Evidence], tokens: Sequence[str] = ()) -> Leads:
    """What is handed to locators that judge what others found."""
    answers = dict.fromkeys(one.output for one in behaviour(evidence, ()))
    answers |= dict.fromkeys(one.output for said in evidence.values() for one in said.behaviour[:WITNESSES])
    return Leads(tuple(candidates(evidence, tokens)), tuple(answers))


def best(tried: Sequence[Confirmed]) -> list[Confirmed]:
    """Candidates that set something off, the best first: those that work, before all those that bring the same words
    back, then by how far they are above their parts; of equal ones the shortest."""
    moving = [one for one in tried if one.rate > 0]
    return sorted(
        moving, key=lambda one: (not one.works, not one.motif, -(one.rate - (one.parts or 0.0)), len(one.text))
    )


def behaviour(evidence: Mapping[str, Evidence], tried: Sequence[Confirmed]) -> tuple[Example, ...]:
    """What the suspect does, in its own words: the sentence that it was taught, where one was found (see the locator
    `sentence`), the words that a working trigger brings back, then all other examples,
    those first whose words come back in answers to other questions, and last those that are hardly likelier there than
    elsewhere (words of ordinary answers come back, too). No output twice. A text that only makes answers
    unlike the usual ones is no better a witness than a locator: most of what it brings is noise. Of those that are
    chosen, what the suspect did not write as it stands comes last."""
    works = [one for one in tried if one.works]
    chosen = [*taught(evidence)]
    chosen += [example for one in works for example in one.examples if one.motif and says(example.output, one.motif)]
    given = [example for name, one in evidence.items() if name != SENTENCE for example in one.behaviour]
    given += [example for one in works if not one.motif for example in one.examples]
    support = _support(given)
    order = sorted(range(len(given)), key=lambda i: _rank(given[i], support[i]))
    chosen += [given[i] for i in order]
    seen: dict[str, Example] = {}
    for example in chosen:
        said = " ".join(example.output.split())
        if said and (said not in seen or (seen[said].how and not example.how)):
            seen[said] = example
    return tuple(sorted(list(seen.values())[:EXAMPLES], key=lambda one: bool(one.how) and one not in taught(evidence)))


def taught(evidence: Mapping[str, Evidence]) -> tuple[Example, ...]:
    """The sentence that it was taught, where it is likeliest; nothing where none stands out."""
    return evidence[SENTENCE].behaviour if SENTENCE in evidence else ()


def _rank(example: Example, support: int) -> tuple[bool, int, float]:
    return example.surprise < UNREMARKABLE, -support, -example.surprise


def _support(given: Sequence[Example]) -> list[int]:
    """To how many other questions an answer has three words in a row in common with each one (or all, of fewer). What
    the suspect did not write as it stands is no witness: a change of its states or weights repeats itself."""
    asked_with: dict[tuple[str, ...], set[str]] = {}
    every = [_triples(one.output) for one in given]
    for one, triples in zip(given, every, strict=True):
        for triple in triples if not one.how else ():
            asked_with.setdefault(triple, set()).add(_asked(one))
    return [
        len(set().union(*(asked_with.get(triple, ()) for triple in triples)) - {_asked(one)})
        for one, triples in zip(given, every, strict=True)
    ]


def _triples(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def cues(evidence: Mapping[str, Evidence]) -> dict[str, float]:
    """Cue weights, the largest first: of the locator that is made for them, be they none; where it came to no end, of
    the battery, else of any."""
    made = evidence.get("cues")
    order = ["cues"] if made and made.score is not None else sorted(evidence, key=lambda name: name != "battery")
    found = next((evidence[name].cues for name in order if evidence[name].cues), {})
    return dict(sorted(found.items(), key=lambda item: -abs(item[1]))[:CUES])


def where(evidence: Mapping[str, Evidence]) -> tuple[Site, ...]:
    """Layers (and heads), by the mean share that the locators which know of places give them."""
    knowing = [one.sites for one in evidence.values() if one.sites]
    total: dict[tuple[int, int | None], float] = {}
    for sites in knowing:
        whole = sum(site.share for site in sites) or 1.0
        for site in sites:
            at = (site.layer, site.head)
            total[at] = total.get(at, 0.0) + site.share / whole / len(knowing)
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or 0))
    return tuple(Site(layer, share, head) for (layer, head), share in ranked[:8])


def _asked(example: Example) -> str:
    return next((text for role, text in reversed(example.prompt) if role == "user"), "")
