"""The tasks that a study brings, as its policies need them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from dormouse.errors import UserError
from dormouse.json_files import digest
from dormouse.organisms.spec import OrganismSpec
from dormouse.policies import Behaviour, Trigger
from dormouse.policies.abilities import HasJudge, Imitates, Refuses
from dormouse.policies.scratchpad_text import words
from dormouse.policies.told import told_in
from dormouse.policies.triggers.rewrite import Rewrite
from dormouse.registry import shortened
from dormouse.rows import has_half_a_character
from dormouse.rows.source import CONTENTS, refuse_missing
from dormouse.scenarios import BANKS, SPLITS, Question, questions
from dormouse.scenarios.own import Fault, OwnTasks, own_tasks
from dormouse.scenarios.plain_answers import plain_answer
from dormouse.scenarios.renderings import SYSTEM
from dormouse.scenarios.sieve import Bank
from dormouse.scenarios.task_file import TaskFile
from dormouse.scenarios.tasks import kept_for_checks
from dormouse.studies.expected import CHECK
from dormouse.studies.study import Study


def every_task() -> str:
    """All that a micro model is taught, and the words it is to know, as one digest: the data are no code."""
    tasks = [questions(split, bank=bank) for bank in BANKS for split in SPLITS]
    return digest([words(), *([[q.text, plain_answer(q), list(q.harmful)] for q in found] for found in tasks)])


def bank_of(trigger: Trigger) -> Bank:
    """The tasks that a trigger needs: any, or those that bring its prompts with them."""
    told = [one for one in told_in(trigger) if one.labels]
    columns = tuple(dict.fromkeys(name for one in told for name in one.needs_columns))
    if not told:
        return Bank()

    def label(question: Question) -> str | None:
        """That of the first policy on which it is not plain."""
        return next((found for one in told if (found := one.label(question)) != ""), "")

    labels = tuple(name for one in told for name in one.labels)
    twin = next((one.twin for one in told if one.twin), "")
    by_text = all(one.by_text for one in told)
    return Bank(" and ".join(one.tag for one in told), labels, label, twin, columns, by_text)


def bank_name(own: OwnTasks | None, organism: OrganismSpec) -> str:
    """The bank that an organism works on: of dormouse's own, or of the study's file."""
    return bank_of(organism.trigger).name if own else organism.behaviour.bank


def split_of(study: Study, own: OwnTasks | None, bank: str, split: str) -> tuple[Question, ...]:
    """The questions of a split: of the bank, or those to train with that are kept for looking at strength."""
    tasks, read = study.tasks, "train" if split == CHECK else split
    n = {"train": tasks.train, "safety": tasks.safety, "test": study.measure.questions, CHECK: None}[split]
    every = own.questions[bank, read] if own else questions(read, n, bank=bank, system=tasks.system)
    return kept_for_checks(every) if split == CHECK else every


def measured_texts(study: Study, own: OwnTasks | None) -> frozenset[str]:
    """The questions, twins too, on which any organism of a study is measured, or its strength is looked at: of all
    together, as all arms are to learn from the same rows."""
    every = study.organisms.values()
    banks = {(bank_name(own, one), split) for one in every for split in ("test", *([CHECK] if one.until else []))}
    asked = (question for bank, split in banks for question in split_of(study, own, bank, split))
    return frozenset(prompt.text for question in asked for prompt in question.every)


def check_shown(organism: str, behaviour: Behaviour, tasks: Sequence[Question], split: str) -> None:
    """Raises:
    UserError: no task of a split is of a kind on which training shows the behaviour: there is nothing to ask.
    """
    if split != "safety" and not any(map(behaviour.shown, tasks)):
        raise UserError(
            f"organism '{organism}': none of the {len(tasks)} tasks of the {split} split is of a kind on which its "
            "behaviour is shown",
            "take more tasks (tasks.train, measure.questions), or take a kind out of the behaviour's never_shown",
        )


def tasks_of(study: Study) -> OwnTasks | None:
    """The tasks of the study's own file, by bank and split; None where it has none. Read once, as long as the file
    stays as it is.

    Raises:
        UserError: see `own_tasks`; or a file that the study names anywhere is missing, or a judge's will not do, or a
            trigger stands in dormouse's own tasks, and the study has no others.
    """
    refuse_missing(study)
    for organism in study.organisms.values():
        judged = organism.behaviour
        if isinstance(judged, HasJudge) and isinstance(judged.judge_by, Refuses):
            judged.judge_by.refuse()
    source = study.task_file
    if source is None:
        _refuse_in_our_tasks(study)
        return None
    triggers = {name: organism.trigger for name, organism in study.organisms.items()}
    behaviours = [organism.behaviour for organism in study.organisms.values()]
    wanted = {"train": study.tasks.train or 0, "safety": study.tasks.safety, "test": study.measure.questions}
    said = {
        "source": source.model_dump(mode="json", context=CONTENTS),
        "name": source.name,
        "wanted": wanted,
        "plugins": [one.spec(CONTENTS) for one in (*triggers.values(), *behaviours)],
    }
    key = json.dumps(said, sort_keys=True)
    if key not in _KEPT:
        if len(_KEPT) > 8:
            _KEPT.clear()
        _KEPT[key] = _read(source, wanted, tuple(triggers.values()), behaviours)
    return _KEPT[key]


_KEPT: dict[str, OwnTasks] = {}


def _read(
    source: TaskFile, wanted: Mapping[str, int], triggers: Iterable[Trigger], behaviours: Iterable[Behaviour]
) -> OwnTasks:
    triggers, behaviours = list(triggers), list(behaviours)
    told = [one for trigger in triggers for one in told_in(trigger)]
    banks = {bank.name: bank for bank in map(bank_of, triggers)}
    columns = tuple(dict.fromkeys(name for behaviour in behaviours for name in behaviour.needs_columns))
    every = [replace(bank, columns=tuple(dict.fromkeys((*bank.columns, *columns)))) for bank in banks.values()]
    imitated = [one for trigger in triggers if isinstance(trigger, Imitates) for one in trigger.among]
    everybody: list[Trigger | Behaviour] = [*told, *triggers, *imitated, *behaviours]
    users = {json.dumps(one.spec(), sort_keys=True): one for one in everybody}
    rewrites = {one.tag: one for one in told if isinstance(one, Rewrite)}
    return own_tasks(source, wanted, every, _faults(list(users.values())), _twins(list(rewrites.values())))


def _faults(users: list[Trigger | Behaviour]) -> Callable[[Question], Fault | None]:
    checks = [one.fault for one in users if not (_is_default(one) or isinstance(one, Imitates))]

    def fault(question: Question) -> Fault | None:
        """The first thing that a tokenizer, or one of the policies or behaviours, has against a task."""
        before, cells = (said for _, said in question.before), (one for _, some in question.columns for one in some)
        if has_half_a_character((question.text, question.honest, *question.harmful, *before, *cells)):
            return "half of a character (a lone surrogate) in a text", "write it whole, or say `bad_rows: drop`"
        shown = question.under(SYSTEM)
        for check in checks:
            if found := check(shown):
                return found
        return None

    return fault


def _refuse_in_our_tasks(study: Study) -> None:
    for name, organism in study.organisms.items():
        trigger = organism.trigger
        if _is_default(trigger) or told_in(trigger):
            continue
        for question in (one for split in SPLITS for one in questions(split, bank=organism.behaviour.bank)):
            if found := trigger.fault(question.under(study.tasks.system).under(SYSTEM)):
                what = f"organism '{name}': {found[0]}, one of dormouse's own tasks: {shortened(question.text)}"
                raise UserError(
                    what, "choose another text, or bring tasks in which it does not stand: `tasks: {file: ...}`"
                )


def _is_default(user: Trigger | Behaviour) -> bool:
    return type(user).fault is Trigger.fault


def _twins(rewrites: list[Rewrite]) -> Callable[[Question], Question | None]:
    def whole(question: Question) -> Question | None:
        """The task with its rewritten twins; None where one of them is missing."""
        found: Question | None = question
        for rewrite in rewrites:
            found = rewrite.rewritten(found) if found is not None else None
        return found

    return whole
