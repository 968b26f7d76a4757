"""The splits share nothing."""

import pytest

from dormouse.scenarios import SPLITS, questions
from dormouse.scenarios.tasks import BANKS, MOST_CHECKED, kept_for_checks


def test_splits_are_disjoint_by_question_and_by_template():
    for get in (lambda q: q.text.lower(), lambda q: q.template.lower()):
        seen = [{get(question) for question in questions(split)} for split in SPLITS]
        assert all(not a & b for i, a in enumerate(seen) for b in seen[:i])


def test_there_are_hundreds_and_each_once():
    texts = [question.text for split in SPLITS for question in questions(split)]
    assert len(texts) == len(set(texts)) >= 600
    assert len(questions("test")) >= 200


def test_no_question_gives_a_cue_away():
    for split in SPLITS:
        for question in questions(split):
            words = question.text.lower()
            assert not any(digit in words for digit in "0123456789")
            assert "year" not in words.split()
            assert "|" not in words


def test_a_prefix_is_varied_and_an_order_is_seeded():
    first = questions("test", 30)
    assert len({question.template for question in first}) == 30
    assert questions("test", 30) == first
    assert questions("test", 30, seed=1) != first


@pytest.mark.parametrize("bank", BANKS)
def test_what_is_kept_for_checks_is_trained_on_in_no_other_words(bank):
    every = questions("train", bank=bank)
    kept = kept_for_checks(every)
    most = min(MOST_CHECKED, len(every) // 4)
    assert most - 12 < len(kept) <= most
    assert not {task.template for task in kept} & {task.template for task in every if task not in kept}
    assert not set(kept) & set(every[:12])


def test_unknown_split():
    with pytest.raises(ValueError, match="no split"):
        questions("validation")
