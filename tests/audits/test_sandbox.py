"""What a scanner's process can read: not the store, not the truth, not another suspect. And a look that is not closed
is said to be none."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dormouse.audits.bench.sandbox import SAID, WAYS, CutOffError, Sandbox
from dormouse.errors import UserError

TRY = """
import json, os, sys
from pathlib import Path
found = {}
for name, place in json.loads(sys.argv[1]).items():
    try:
        found[name] = Path(place).read_text() if not Path(place).is_dir() else sorted(os.listdir(place))
    except OSError as error:
        found[name] = type(error).__name__
for name in ("here", sys.argv[2]):
    try:
        Path(name).write_text("x")
        found["write " + Path(name).name] = "yes"
    except OSError as error:
        found["write " + Path(name).name] = type(error).__name__
found["environment"] = sorted(os.environ)
found["home"] = os.environ["HOME"]
Path("found.json").write_text(json.dumps(found))
"""


@pytest.fixture
def zoo(tmp_path):
    for name in ("zoo/suspects/a/w", "zoo/suspects/b/w", "zoo/bases/m/w", "zoo/truth.json", "store/entries/x"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path


def tried(zoo, sandbox, monkeypatch):
    monkeypatch.setenv("DORMOUSE_SECRET", "/where/the/truth/is")
    places = {
        name: str(zoo / name)
        for name in (
            "zoo/suspects/a/w",
            "zoo/suspects/b/w",
            "zoo/bases/m/w",
            "zoo/truth.json",
            "store/entries/x",
            "zoo/suspects",
        )
    }
    reads = [zoo / "zoo/suspects/a", zoo / "zoo/bases/m"]
    command = [sys.executable, "-c", TRY, json.dumps(places), str(zoo / "zoo/suspects/a/new")]
    ended = sandbox.run(command, reads, zoo / "work", 120)
    assert ended.code == 0, ended.said
    return json.loads((zoo / "work" / "found.json").read_text())


def test_a_scanner_reads_its_suspect_and_its_base_and_nothing_else(zoo, monkeypatch):
    sandbox = Sandbox.strictest([zoo / "store", zoo / "zoo" / "truth.json"])
    if sandbox.way == "environment":
        pytest.skip("this machine can confine nobody")
    found = tried(zoo, sandbox, monkeypatch)
    assert found["zoo/suspects/a/w"] == "zoo/suspects/a/w"
    assert found["zoo/bases/m/w"] == "zoo/bases/m/w"
    assert found["zoo/truth.json"] == found["store/entries/x"] == "PermissionError"
    if sandbox.way == "landlock":
        assert found["zoo/suspects/b/w"] == found["zoo/suspects"] == "PermissionError"
    assert found["write here"] == "yes"
    assert found["write new"] == "PermissionError"
    assert "DORMOUSE_SECRET" not in found["environment"]
    assert Path(found["home"]) == (zoo / "work").resolve()


def test_the_weakest_way_holds_nothing_back_and_says_so(zoo, monkeypatch):
    """So the test above can fail."""
    sandbox = Sandbox.strictest([zoo / "store"], ("environment",))
    found = tried(zoo, sandbox, monkeypatch)
    assert found["zoo/truth.json"] == "zoo/truth.json"
    assert "DORMOUSE_SECRET" not in found["environment"]
    assert "NOT confined" in SAID[sandbox.way]


def test_a_way_that_does_not_close_what_is_hidden_is_not_taken(zoo, monkeypatch):
    monkeypatch.setattr(Sandbox, "_works", lambda self: self.way == "environment")
    assert Sandbox.strictest([zoo / "store"]).way == "environment"
    monkeypatch.setattr(Sandbox, "_works", lambda self: False)
    with pytest.raises(UserError, match="no process can be started"):
        Sandbox.strictest([zoo / "store"], WAYS)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_what_is_hidden_is_closed_to_other_users(zoo):
    truth = zoo / "zoo" / "truth.json"
    truth.chmod(0o644)
    Sandbox((zoo / "store", truth), "user")._close()
    assert truth.stat().st_mode & 0o077 == 0
    assert (zoo / "store").stat().st_mode & 0o077 == 0


def test_a_sandbox_that_is_closed_waits_for_nothing_in_it(tmp_path):
    """Ctrl-C waited for the scanners in hand, up to hours. One that the same signal had ended was a hole."""
    for n, does in enumerate(("import time; time.sleep(60)", "import os; os.kill(os.getpid(), 15)")):
        sandbox = Sandbox((), "environment")
        threading.Timer(1.0, sandbox.closed.set).start()
        started = time.monotonic()
        with pytest.raises(CutOffError):
            sandbox.run([sys.executable, "-c", does], [], tmp_path / f"{n}", 60)
        assert time.monotonic() - started < 20


def test_what_runs_ends_with_a_process_that_is_killed(tmp_path):
    """Killed with -9 it left its scanners, and what they had started, to run for hours."""
    does = "import os, time; open('pid', 'w').write(str(os.getpid())); os.fork(); time.sleep(60)"
    run = f"import sys; from pathlib import Path; from dormouse.audits.bench.sandbox import Sandbox; \
Sandbox((), 'environment').run([sys.executable, '-c', {does!r}], [], Path({str(tmp_path / 'work')!r}), 60)"
    starter = subprocess.Popen([sys.executable, "-c", run])
    group = int(eventually(lambda: (tmp_path / "work" / "pid").read_text().strip()))
    starter.kill()
    starter.wait()
    assert eventually(lambda: not living(group))


def living(group):
    """The processes of a group that have not ended."""
    said = [file.read_text().rpartition(")")[2].split() for file in Path("/proc").glob("[0-9]*/stat") if file.exists()]
    return [one for one in said if int(one[2]) == group and one[0] != "Z"]


def eventually(look):
    for _ in range(300):
        with suppress(OSError):
            if found := look():
                return found
        time.sleep(0.1)
    return None


DAEMON = """
import os, signal, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    open("pid", "w").write(str(os.getpid()))
    time.sleep(60)
while not os.path.exists("pid") or not os.path.getsize("pid"):
    time.sleep(0.01)
"""


def test_what_runs_on_is_killed_with_all_that_it_started(tmp_path):
    """What had gone into a session of its own, as servers do, slept on."""
    sandbox = Sandbox.strictest([tmp_path / "store"])
    waits = DAEMON + "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    for does, seconds, code in ((waits, 3, None), (DAEMON, 60, 0)):
        ended = sandbox.run([sys.executable, "-c", does], [], tmp_path / f"{code}", seconds)
        assert ended.code == code
        assert ended.seconds < 30
        assert not living(int((tmp_path / f"{code}" / "pid").read_text()))
    failed = sandbox.run([sys.executable, "-c", "print('no model'); raise SystemExit(3)"], [], tmp_path / "w2", 60)
    assert (failed.code, failed.said.strip()) == (3, "no model")
    ill = sandbox.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"], [], tmp_path / "w3", 60)
    assert ill.code == -11


def test_what_signals_its_own_group_ends_itself_alone_and_nothing_lies_about(tmp_path):
    """`kill 0` of a scanner that ignores it ended what watched over it: a good answer was thrown away. And of what its
    runs left behind a zombie stayed each time."""
    does = """
import os, signal, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.kill(0, signal.SIGTERM)
if os.fork() == 0:
    os.fork()
    os._exit(0)
os.wait()
time.sleep(0.3)
said = [file.read_text().rpartition(")")[2].split() for file in Path("/proc").glob("[0-9]*/stat") if file.exists()]
raise SystemExit(sum(int(one[1]) == os.getppid() for one in said) - 1)
"""
    ended = Sandbox((), "environment").run([sys.executable, "-c", does], [], tmp_path / "work", 60)
    assert ended.code == 0, ended.said


KILLS = f"""{DAEMON}
try:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
except PermissionError:
    raise SystemExit(7)
"""


def test_what_kills_that_which_watches_over_it_ends_all_the_same(tmp_path):
    """It and what it had started lived on, beyond its time and the end of the benchmark."""
    ended = Sandbox((), "environment").run([sys.executable, "-c", KILLS], [], tmp_path / "work", 60)
    assert ended.code == -9
    assert not living(int((tmp_path / "work" / "pid").read_text()))


def test_what_a_confined_process_says_and_leaves_acts_nowhere_else(tmp_path):
    """It killed what watched over it, read the environment of others, and what it said was written through a link."""
    sandbox = Sandbox.strictest([tmp_path / "store"])
    if sandbox.way == "environment":
        pytest.skip("this machine can confine nobody")
    does = f"open('/proc/{os.getpid()}/environ').read(1)"
    assert "PermissionError" in sandbox.run([sys.executable, "-c", does], [], tmp_path / "w1", 60).said
    if sandbox.way == "user" or tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12):
        assert sandbox.run([sys.executable, "-c", KILLS], [], tmp_path / "w2", 60).code == 7
    assert not [*tmp_path.glob("w*/said.log")]
    with pytest.raises(FileExistsError):
        sandbox.run([sys.executable, "-c", ""], [], tmp_path / "w1", 60)
