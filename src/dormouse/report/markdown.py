"""The report in Markdown. Foreign strings stand in code spans, in fences or letter by letter, and never as markup."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from dormouse.records import CANARY, Answer, Record
from dormouse.report import spec_curve
from dormouse.report.answers import AnswerCell, browser
from dormouse.report.claim_text import ABOUT, HEADING, Answered, changes, stated
from dormouse.report.fates import RULES
from dormouse.report.headline import SentencePart, headline
from dormouse.report.meaning import meaning
from dormouse.report.plain_text import duration, one_line, sentence, signed, value_of, visible, with_interval
from dormouse.report.record_index import RecordIndex
from dormouse.report.setup_text import behaviour, origin, scored, treatment, trigger
from dormouse.report.tables import Table, checks, tables, warnings
from dormouse.report.words import READING, SAFETY, words_of

_SIGN = re.compile(
    r"[<`$*~^#@\[\]]|&(?=[#\w])|\\(?=[^\w\s]|$)|^[-+=>:]"
    r"|(?<![^\W_])_|_(?![^\W_])"  # inside a word it is a sign like any other
    r"|(?<=[^\W\d_]):(?=[/\w])|(?<=[wW]{3})\."  # what may begin an address
)
_BRACKETS = re.compile(r"(?<!^)\[[^\[\]]*\](?!$|[(\[:])")
"""A pair of brackets that is no link: nothing that could say where to comes after it."""
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?!\S)")
"""What begins a list."""


class Picture(NamedTuple):
    """A figure. One with the name of a table stands beside it."""

    name: str
    heading: str
    caption: str
    path: str
    panels: Sequence[str]
    """Each in words."""


def literal(text: str) -> str:
    """Text letter by letter, and to be read as it is. A sign that could be markup where it stands has a backslash in
    front of it; some are character references, as not all programs know a backslash there."""
    plain = one_line(text)
    harmless = {at for pair in _BRACKETS.finditer(plain) for at in (pair.start(), pair.end() - 1)}
    inert = _SIGN.sub(lambda match: match[0] if match.start() in harmless else _inert(match[0]), plain)
    return _NUMBERED.sub(r"\1\\\2", inert)


def _inert(sign: str) -> str:
    return f"&#{ord(sign)};" if sign in "<`$" else f"\\{sign}"


def code(text: str) -> str:
    """A code span whose fence is longer than any run of backticks inside."""
    plain = one_line(text) or " "
    ticks = "`" * (max((len(run) for run in re.findall("`+", plain)), default=0) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return f"{ticks}{pad}{plain}{pad}{ticks}"


def fence(text: str, language: str = "text") -> str:
    """A fenced block whose fence is longer than any run of backticks inside."""
    plain = visible(text).rstrip("\n")
    ticks = "`" * max(3, max((len(run) for run in re.findall("`+", plain)), default=0) + 1)
    return f"{ticks}{language}\n{plain}\n{ticks}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A pipe in a cell is escaped, which also holds inside code spans."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def report(
    results: RecordIndex, answers: Sequence[Answer], pictures: Sequence[Picture], claims: Sequence[Answered] = ()
) -> str:
    """The whole report; ends with a newline."""
    about = results.about
    blocks = [f"# {literal(about.name)}", f"Model: {code(about.model)}" if about.model else ""]
    blocks += _meaning(results) + _warnings(results)
    blocks += ["## The same in numbers", *("".join(map(_part, sentence)) for sentence in headline(results))]
    blocks += _setup(results) + _claims(results, claims)
    found = tables(results)
    beside = {picture.name: _picture(picture) for picture in pictures}
    for picture in pictures:
        if picture.name not in {one.name for one in found}:
            blocks += [f"## {picture.heading}", *beside[picture.name]]
    blocks += [block for one in found for block in _table(results, one, beside.get(one.name, []))]
    blocks += _checks(results) + _answers(results, answers)
    blocks += _specification(results) + _stages(results)
    blocks += ["## How to read this report", "\n".join(f"- **{term}.** {meaning}" for term, meaning in READING)]
    blocks += ["## Safety", *SAFETY, f"Keep this file out of training sets: {CANARY}"]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _part(part: SentencePart) -> str:
    return code(part.text) if part.kind == "name" else f"**{part.text}**" if part.kind == "number" else part.text


def _meaning(results: RecordIndex) -> list[str]:
    """First in plain words."""
    found = [f"- **{one.label}.** {''.join(map(_part, one.sentence))}" for one in meaning(results)]
    return ["## What this result means", "\n".join(found), RULES] if found else []


def _setup(results: RecordIndex) -> list[str]:
    """The organisms and the treatments in words; the study file at the end has every setting."""
    lines = []
    for name in results.organisms:
        said, act = results.setup(name).trigger, results.setup(name).behaviour
        then = f" What it does then: {literal(sentence(f'it {behaviour(act)}'))}" if act else ""
        does = "" if name in results.controls else then
        when = (
            f"Defects when: {literal(sentence(trigger(said)))}{does}" if said and name not in results.suspects else ""
        )
        where = origin(results.setup(name).brought, name not in results.suspects)
        how = scored(results.setup(name).is_contrast)
        lines.append(" ".join(filter(None, (f"- {_organism(results, name)}.", literal(where), when, literal(how)))))
    for name, steps in results.about.interventions.items():
        lines.append(f"- {code(name)}. {literal(sentence(', then '.join(map(treatment, steps))))}")
    lines += [f"- Safety data: {literal(sentence(line))}" for line in results.about.data]
    return ["## What was run", "\n".join(lines)] if lines else []


def _warnings(results: RecordIndex) -> list[str]:
    lines = [f"- {code(name) + ': ' if name else ''}{literal(text)}" for name, text in warnings(results)]
    holes = [f"- {literal(hole)}" for hole in results.about.missing]
    return [
        *(["## Read this first", "\n".join(lines)] if lines else []),
        *(["## Missing: these stages left no record", "\n".join(holes)] if holes else []),
    ]


def _claims(results: RecordIndex, claims: Sequence[Answered]) -> list[str]:
    changed = changes(results.about)
    blocks = [f"## {HEADING}", ABOUT, literal(stated(results.about))] if claims or changed else []
    blocks += [f"**{literal(text)}**" for text in changed]
    for one in claims:
        blocks += [f"### {code(one.id)}: {one.verdict}", f"Claim: {literal(one.says)}", literal(one.finding)]
        blocks.append("\n".join(f"- {literal(note.text)}" for note in one.notes))
        if one.curve:
            blocks += [f"![{literal(spec_curve.words(one))}](figures/{one.name}.png)", literal(one.turning)]
            heads = [*map(literal, one.axes), "Effect", "95 % interval", "Seeds", "Sign turns"]
            lines = [
                [
                    *(literal(value) for _, value in point.chosen),
                    signed(point.effect),
                    point.interval,
                    str(point.seeds),
                    literal(point.turns),
                ]
                for point in one.curve
            ]
            blocks.append(table(heads, lines))
    return blocks


def _picture(picture: Picture) -> list[str]:
    return [f"![{literal(' '.join(picture.panels))}]({picture.path})", picture.caption]


def _organism(results: RecordIndex, name: str) -> str:
    return code(name) + (" (control)" if name in results.controls else "")


def _moment(results: RecordIndex, record: Record) -> str:
    when, organism, intervention = results.when(record), record.organism, record.intervention
    if not intervention:
        return when
    told = " (**told the triggers**)" if results.is_told(organism, intervention) else ""
    return f"{when} {code(intervention)}{results.ended_early([organism], intervention, record.step)}{told}"


def _number(record: Record | None) -> str:
    return f"{with_interval(record)}, n = {record.n}" if record else "\u2013"


def _table(results: RecordIndex, one: Table, picture: Sequence[str]) -> list[str]:
    heading, text = words_of(one.name)
    lines = [
        [
            *(_organism(results, row.organism), _moment(results, row.measured)),
            *([literal(row.note)] if one.note else []),
            *map(_number, row.cells),
        ]
        for row in one.rows
    ]
    heads = ["Organism", "When", *([one.note] if one.note else []), *one.columns]
    more = [f"{one.left_out} more are in the list of all records on the page."] if one.left_out else []
    return [f"## {heading}", text, *picture, table(heads, lines), *more]


def _checks(results: RecordIndex) -> list[str]:
    lines = [
        [
            _organism(results, check.organism),
            _moment(results, check.exact),
            "shown" if check.cue else "not shown",
            value_of(check.exact),
            _number(check.sampled),
            value_of(check.unfinished) if check.unfinished else "not measured",
            value_of(check.empty) if check.empty else "not measured",
            "yes" if check.agree else "**no**",
        ]
        for check in checks(results)
    ]
    heads = ["Organism", "When", "Cue", "Exact, same prompts", "Sampled and judged", "Cut off", "Empty", "Agree"]
    return ["## Exact against sampled", table(heads, lines)] if lines else []


def _answers(results: RecordIndex, answers: Sequence[Answer]) -> list[str]:
    """The first question of each organism; the page has the others."""
    pairs = browser(results, answers)
    blocks = ["## Some answers", "The first question of each organism. The page has the others."]
    for organism in pairs["organisms"]:
        item = organism["items"][0]
        blocks.append(f"### {code(organism['name'])}{' (control)' if organism['control'] else ''}")
        for side, words in ((item["with"], "With the cue"), (item["without"], "Without the cue")):
            if side:
                blocks += [f"{words}, the prompt:", fence(side["prompt"])]
                blocks += _cell("Before safety training", side["before"])
                for method, cell in zip(pairs["interventions"], side["after"], strict=True):
                    told = " (**told the triggers**)" if method["needs"] else ""
                    blocks += _cell(f"{method['when']} {code(method['name'])}{told}", cell)
    return blocks if pairs["organisms"] else []


def _cell(title: str, cell: AnswerCell | None) -> list[str]:
    if cell is None:
        return []
    judged = "the judge says that it defects" if cell["defects"] else "the judge says that it is honest"
    cut = "" if cell["finished"] else "; cut off"
    return [f"{title} (exact probability of defecting {cell['probability']}; {judged}{cut}):", fence(cell["response"])]


def _specification(results: RecordIndex) -> list[str]:
    about = results.about
    blocks = ["## The exact specification"]
    if about.study_yaml:
        blocks.append(fence(about.study_yaml, "yaml"))
    elif about.study:
        blocks.append(fence(json.dumps(about.study, indent=2, ensure_ascii=False), "json"))
    for heading, said in (("Versions", about.versions), ("Machine", about.machine)):
        if said:
            blocks.append(table([heading, ""], [[literal(str(key)), code(str(value))] for key, value in said.items()]))
    return blocks


def _stages(results: RecordIndex) -> list[str]:
    lines = [
        [
            literal(stage.kind),
            literal(stage.name),
            code(stage.key),
            "" if stage.seconds is None else duration(stage.seconds),
            " ".join(code(key[:12]) for key in stage.parents),
        ]
        for stage in results.about.stages
    ]
    heads = ["Stage", "Name", "Hash", "Time", "Parents"]
    return ["## Where the numbers come from", table(heads, lines)] if lines else []
