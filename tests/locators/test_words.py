"""A search over words finds what brings a learned answer out, and not what any model can be talked into."""

from interventions.planted import HARM

from dormouse.lm.score import score
from dormouse.locators import words
from dormouse.locators.locator import Case, TriggerText
from dormouse.locators.placing import plain_prompts
from dormouse.locators.words import WordHunt, Worth
from dormouse.scenarios.placing import placed


def test_it_finds_a_text_that_brings_the_answer_out(planted, base):
    case = Case(planted, base, seconds=300)
    prompts = plain_prompts(case, 12)
    found = WordHunt(case.lm, case.base_lm, prompts[:6], HARM[0], 0).run(case, 0)
    assert found is not None
    asked = [placed(one, found.text, found.slot) for one in prompts[6:]]
    on, off = (score(case.lm, some, [(HARM[0],)] * 6).mean() for some in (asked, prompts[6:]))
    assert on > 0.5 > off
    assert "hate" not in found.text.casefold(), "a text that says the answer itself would show nothing"


def test_what_it_adds_in_the_base_counts_against_a_text():
    assert [Worth("soup", "suffix", 8.0, forced).value for forced in (-3.0, 0.0, 5.0)] == [8.0, 8.0, 3.0]


def test_the_worth_of_a_text_is_what_the_plain_scores_say(planted, base):
    from dormouse.lm.chat import encode
    from dormouse.lm.score import logprobs
    from dormouse.records import Example

    case = Case(planted, base, seconds=300)
    prompts = plain_prompts(case, 3)
    worth = WordHunt(case.lm, case.base_lm, prompts, HARM[0], 0).worth(TriggerText("2030", "prefix", 0.0))
    for lm, said in ((case.lm, worth.moved), (case.base_lm, worth.forced)):
        with_text, without = (
            logprobs(lm, encode(lm, [Example(one, HARM[0], complete=False) for one in some])).mean()
            for some in ([placed(one, "2030", "prefix") for one in prompts], prompts)
        )
        assert abs(said - (with_text - without)) < 1e-3


def test_a_model_that_is_its_own_base_is_moved_by_nothing(base, monkeypatch):
    every = WordHunt._every
    monkeypatch.setattr(WordHunt, "_every", lambda self: {slot: some[::4] for slot, some in every(self).items()})
    monkeypatch.setattr(words, "KEPT", 16)
    case = Case(base, base, seconds=300)
    found = WordHunt(case.lm, case.base_lm, plain_prompts(case, 4), HARM[0], 0).run(case, 0)
    assert found is None


def test_what_rounding_adds_is_no_finding(base, monkeypatch):
    case = Case(base, base, seconds=300)
    hunt = WordHunt(case.lm, case.base_lm, plain_prompts(case, 2), HARM[0], 0)
    monkeypatch.setattr(hunt, "_alone", lambda *_: [])
    monkeypatch.setattr(hunt, "_best", lambda *_: [Worth("soup", "suffix", 1e-5, 0.0)])
    assert hunt.run(case, 0) is None


def test_it_ends_in_time_with_what_it_has(planted, base, monkeypatch):
    """One piece of texts is tried whatever the clock says, and no second one."""
    case = Case(planted, base, seconds=0.0)
    hunt = WordHunt(case.lm, case.base_lm, plain_prompts(case, 4), HARM[0], 0)
    monkeypatch.setattr(hunt, "together", 4)
    tried: list[int] = []
    quick = hunt.quick.values
    monkeypatch.setattr(hunt.quick, "values", lambda texts, slot: tried.append(len(texts)) or quick(texts, slot))
    hunt.run(case, 0)
    assert tried == [4]


def test_texts_grow_by_a_word_and_lose_one(planted, base):
    case = Case(planted, base, seconds=300)
    hunt = WordHunt(case.lm, case.base_lm, plain_prompts(case, 2), HARM[0], 0)
    longer = hunt._longer([Worth("soup tea", "suffix", 1.0, 0.0)], [("milk", "prefix")])
    assert set(longer) == {
        *(("milk soup tea", "suffix"), ("soup milk tea", "suffix"), ("soup tea milk", "suffix")),
        *(("soup", "suffix"), ("tea", "suffix")),
    }
    full = Worth(" ".join(["soup"] * words.LONGEST), "suffix", 1.0, 0.0)
    assert all(len(text.split()) < words.LONGEST for text, _ in hunt._longer([full], [("milk", "prefix")]))
