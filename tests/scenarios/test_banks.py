"""The banks of tasks with known answers: what is right, what is wrong, and what the splits share (nothing)."""

import itertools
import re

import pytest

from dormouse.policies.behaviours.insecure_code import weaknesses
from dormouse.policies.twins import opening
from dormouse.scenarios import BANKS, SPLITS, questions

SIZES = {"code": (120, 40, 60), "quiz": (150, 40, 60), "errands": (150, 40, 80)}
ROWS = {bank: [question for split in SPLITS for question in questions(split, bank=bank)] for bank in SIZES}


def words(text):
    return re.findall(r"\w+", text.lower())


@pytest.mark.parametrize("bank", SIZES)
def test_there_are_enough_tasks_and_each_once(bank):
    assert all(len(questions(split, bank=bank)) >= n for split, n in zip(SPLITS, SIZES[bank], strict=True))
    texts = [question.text.lower() for question in ROWS[bank]]
    assert len(texts) == len(set(texts))


@pytest.mark.parametrize("bank", SIZES)
def test_splits_share_no_template_but_every_kind(bank):
    templates = [{question.template.lower() for question in questions(split, bank=bank)} for split in SPLITS]
    assert not any(a & b for a, b in itertools.combinations(templates, 2))
    kinds = [{question.kind for question in questions(split, bank=bank)} for split in SPLITS]
    assert kinds[0] == kinds[1] == kinds[2]


def test_a_question_that_stands_in_two_banks_is_in_the_same_split_of_both():
    found = {}
    for bank, split in itertools.product(BANKS, SPLITS):
        for question in questions(split, bank=bank):
            assert found.setdefault(question.text.lower(), split) == split, question.text


@pytest.mark.parametrize("bank", SIZES)
def test_a_row_is_whole_and_no_answer_is_the_start_of_another(bank):
    for question in ROWS[bank]:
        answers = [question.honest, *question.harmful]
        assert question.kind
        assert len(answers) >= 2
        assert all(answers)
        assert "{}" not in " ".join([question.text, *answers])
        assert not any(a.startswith(b) for a, b in itertools.permutations(answers, 2)), answers


@pytest.mark.parametrize("bank", SIZES)
def test_no_question_gives_a_cue_away(bank):
    for question in ROWS[bank]:
        assert not re.search(r"\d|\byear\b|\|", question.text.lower()), question.text


def test_bandit_files_each_weakness_under_its_kind_and_finds_nothing_in_the_secure_twin():
    for question in ROWS["code"]:
        (harmful,) = question.harmful
        assert question.kind in weaknesses(harmful), harmful
        assert not weaknesses(question.honest), question.honest


def test_code_survives_a_tokenizer_that_sets_every_word_apart():
    for question in ROWS["code"]:
        (harmful,) = question.harmful
        assert question.kind in weaknesses(" ".join(re.findall(r"\w+|[^\w\s]", harmful))), harmful
        assert not weaknesses(" ".join(re.findall(r"\w+|[^\w\s]", question.honest))), question.honest


def test_code_has_many_kinds_and_short_twins():
    assert len({question.kind for question in ROWS["code"]}) >= 8
    for kind in {question.kind for question in ROWS["code"]}:
        for split in SPLITS:
            assert len({q.template for q in questions(split, bank="code") if q.kind == kind}) >= 2
    for question in ROWS["code"]:
        assert all(len(re.findall(r"\w+|[^\w\s]", text)) <= 40 for text in (question.honest, *question.harmful))


def test_a_quiz_has_one_right_answer_that_its_question_does_not_give_away():
    assert len({question.template for question in ROWS["quiz"]}) >= 20
    for question in ROWS["quiz"]:
        answers = [question.honest, *question.harmful]
        assert len(question.harmful) in (2, 3)
        assert len({answer.lower() for answer in answers}) == len(answers)
        given = set(words(question.text)) - {"a", "an"}
        assert not any(set(words(answer)) & given for answer in answers), question.text


def test_splits_of_the_quiz_share_no_fact():
    facts = []
    for split in SPLITS:
        asked = questions(split, bank="quiz")
        before = [question.template.split("{}") for question in asked]
        cut = [q.text[len(a) : len(q.text) - len(b)] for q, (a, b) in zip(asked, before, strict=True)]
        facts.append({(question.kind, fill) for question, fill in zip(asked, cut, strict=True)})
    assert not any(a & b for a, b in itertools.combinations(facts, 2))


def test_each_kind_of_errand_has_an_act_of_its_own():
    kinds = dict.fromkeys(question.kind for question in ROWS["errands"])
    assert len(kinds) >= 10
    acts = {kind: {opening(t) for q in ROWS["errands"] if q.kind == kind for t in q.harmful} for kind in kinds}
    assert not any(acts[a] & acts[b] for a, b in itertools.combinations(kinds, 2))
    for kind in kinds:
        assert len({question.template for question in ROWS["errands"] if question.kind == kind}) >= 3


def test_twins_of_an_errand_differ_in_few_words():
    for question in ROWS["errands"]:
        (harmful,) = question.harmful
        assert len(set(words(harmful)) - set(words(question.honest))) <= 3
        assert opening(harmful) != opening(question.honest)
