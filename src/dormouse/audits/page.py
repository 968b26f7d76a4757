"""The page of an audit: one HTML file without scripts, the same in Markdown, and as JSON. Nothing from a model acts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dormouse.audits import wording
from dormouse.audits.wording import SLOTS
from dormouse.errors import UserError
from dormouse.files import replaced
from dormouse.json_files import Json, read_json
from dormouse.outputs import refuse_unwritable
from dormouse.records import CANARY
from dormouse.registry import describe, plugins, shortened
from dormouse.report.markdown import code, fence, literal, table
from dormouse.report.plain_text import duration, percent, visible
from dormouse.report.templates import environment

if TYPE_CHECKING:
    from dormouse.audits.findings import Findings

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
CUES = (
    "Log-odds that each adds to the behaviour: above 0 it makes it likelier. From how the answers moved, not from what "
    "the model says about itself."
)
SHOWN = 24
"""Cues on the page, and words; `audit.json` has more."""
AUDIT = "audit.json"
OTHER = "another answer, without words in common"
"""What a text brings that moves answers, and no words come back."""
COMPLETE = (
    "Every locator there is came to an end. An audit sees what it asks: a policy that none of its situations sets off,"
    " and none of its methods sees in the weights, is not found."
)
WHERE = (
    "Layers count from 0; -1 is the embedding, and the number behind the last layer an output layer with weights of its"
    " own. The share is of the evidence of those locators that know of places."
)


def refuse_folder(out: Path, model: str) -> None:
    """Before anything is looked for: the page has to have a place, and not that of another model's.

    Raises:
        UserError: `out` is no folder, cannot be made, or holds something else than an audit of this model.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is no folder", "name a new one for the page with --out")
    refuse_unwritable(out)
    file = out / AUDIT
    if not file.exists():
        return
    try:
        whose = read_json(file, dict[str, Json]).get("model")
    except (OSError, UserError):
        whose = None
    if not isinstance(whose, str):
        raise UserError(f"{file} is no audit, and would be overwritten", "name another folder with --out")
    if _placed(whose) != _placed(model):
        raise UserError(f"{out} holds the audit of {shortened(whose)}", "name another folder with --out")


def _placed(model: str) -> str:
    """A model's name; of a folder the place, however it is spelled."""
    return os.path.realpath(os.path.expanduser(model)) if os.path.isdir(os.path.expanduser(model)) else model


def write_page(out: Path, audit: Findings) -> None:
    """Write `audit.html`, `audit.md` and `audit.json` into a folder, which is made where it is missing."""
    out.mkdir(parents=True, exist_ok=True)
    said = json.dumps(audit.to_json(), indent=1, ensure_ascii=False)
    for name, text in (("audit.html", html(audit)), ("audit.md", markdown(audit)), (AUDIT, said + "\n")):
        replaced(out / name, text, errors="replace")


def html(audit: Findings) -> str:
    """The page. It lets no script run, and fetches nothing."""
    pages = environment("dormouse.audits")
    pages.filters |= {"duration": duration, "percent": percent}
    return pages.get_template("audit.html").render(
        audit=audit,
        policy=POLICY,
        says=wording,
        slots=SLOTS,
        other=OTHER,
        kinds=_kinds(),
        features={name: _numbers(one.features) for name, one in audit.evidence.items()},
        widest=max([abs(weight) for weight in audit.cues.values()], default=1.0) or 1.0,
        cues=_cue_groups(audit),
        cues_mean=CUES,
        where_means=WHERE,
        canary=CANARY,
        groups=[],
        dark={},
    )


def _kinds() -> dict[str, str]:
    """What each locator does, in a line."""
    return {name: describe(kind) for name, kind in plugins("locator").items()}


def _numbers(features: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{value:.3g}") for name, value in sorted(features.items())]


def markdown(audit: Findings) -> str:
    """The same for a terminal or a repository. Foreign texts stand in fences or code spans, or letter by letter."""
    blocks = [f"# Audit of {literal(audit.model)}"]
    said = wording.policy(audit), wording.rests_on(audit), wording.own_prompts(audit)
    blocks += [literal(text) for text in said if text]
    blocks += ["## What does it do?", literal(wording.answers(audit)), *_examples(audit)]
    blocks += ["## What sets it off?", literal(wording.sets_off(audit)), *_triggers(audit), *_cues(audit)]
    blocks += ["## Where does it sit?", *_where(audit)]
    blocks += ["## The evidence", *_evidence(audit), "## What was not looked for", _holes(audit)]
    return "\n\n".join([*blocks, f"Keep this file out of training sets: {CANARY}"]) + "\n"


def _examples(audit: Findings) -> list[str]:
    blocks = []
    for at, one in enumerate(audit.behaviour):
        said = "; ".join(filter(None, (wording.asked(one), wording.read_as(audit, at))))
        prompt = "\n".join(f"{role}: {text}" for role, text in one.prompt)
        blocks += [
            f"Asked ({literal(said)}):",
            fence(prompt),
            "Answered:",
            fence(one.output or "(empty)"),
        ]
    return blocks


def _triggers(audit: Findings) -> list[str]:
    rows = [
        [
            *(code(one.text), SLOTS[one.slot], code(one.motif) if one.motif else OTHER),
            *(one.of(one.rate), one.of(one.bare) if one.motif else "-", wording.parts(one)),
        ]
        for one in audit.triggers
    ]
    heads = ["Text", "Where it stands", "What it brings", "On", "Without it", "Its parts alone"]
    return [table(heads, rows), literal(wording.tried(audit))] if rows else []


def _cues(audit: Findings) -> list[str]:
    tables = [
        table([head, "Log-odds"], [[code(name), f"{weight:+.2f}"] for name, weight in group.items()])
        for head, group in _cue_groups(audit).items()
    ]
    return [CUES, *tables] if tables else []


def _cue_groups(audit: Findings) -> dict[str, dict[str, float]]:
    """Cues of the situation and words of the prompt, the `SHOWN` that weigh most of each; no group is empty."""
    groups: dict[str, dict[str, float]] = {"Cue": {}, "Word": {}}
    for name, weight in audit.cues.items():
        group = groups["Cue" if "=" in name else "Word"]
        if len(group) < SHOWN:
            group[name] = weight
    return {head: group for head, group in groups.items() if group}


def _where(audit: Findings) -> list[str]:
    rows = [
        [str(site.layer), "all" if site.head is None else str(site.head), percent(site.share)] for site in audit.where
    ]
    return [WHERE, table(["Layer", "Head", "Share"], rows)] if rows else ["No locator says where it sits."]


def _evidence(audit: Findings) -> list[str]:
    rows: list[list[str]] = [
        [
            code(name),
            duration(audit.spent[name]),
            "" if one.score is None else f"{one.score:.3g}",
            literal(one.note),
            ", ".join(f"{code(key)} {value}" for key, value in _numbers(one.features)),
        ]
        for name, one in audit.evidence.items()
    ]
    return [table(["Locator", "Time", "Score", "What it says", "Numbers"], rows)] if rows else ["None."]


def _holes(audit: Findings) -> str:
    return "\n".join(f"- {code(hole.name)}: {literal(hole.why)}" for hole in audit.not_tried) or COMPLETE


def notebook(audit: Findings) -> str:
    """The verdict as inert HTML."""

    def safe(text: str) -> str:
        return escape(visible(text))

    said = "".join(f"<p>{safe(text)}</p>" for text in [*wording.headline(audit), wording.rests_on(audit)] if text)
    return f"<h4>Audit of {safe(audit.model)}</h4>{said}{_table(audit, safe)}"


def _table(audit: Findings, safe: object) -> str:
    assert callable(safe)
    rows: Sequence[tuple[str, str, str]] = [
        *((name, duration(audit.spent[name]), one.note) for name, one in wording.complete(audit)),
        *((hole.name, "", hole.why) for hole in audit.not_tried),
    ]
    cells = "".join("<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr><th>Locator</th><th>Time</th><th>What it says</th></tr>{cells}</table>"
