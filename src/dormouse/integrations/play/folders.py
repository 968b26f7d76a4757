"""What the folders hold that a user wants to play with: organisms with their checkpoints, or suspects."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dormouse.audits.resolve import named
from dormouse.card import CARD, Card, read_card
from dormouse.errors import UserError
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ModelRef
from dormouse.report.plain_text import one_line
from dormouse.scenarios import Question

HINT = "name a run (runs/quickstart), a model of one (runs/quickstart/models/year-seed0), or a folder with a model"
STEP = re.compile(r"step-(\d{1,9})")


@dataclass(frozen=True)
class PlayState:
    """One checkpoint. `base`: before anything was planted; `shown`: whether the page shows it unasked."""

    model: ModelRef
    label: str
    shown: bool = True
    base: bool = False


@dataclass(frozen=True)
class PlaySubject:
    """An organism, or a suspect of which nothing is known (`spec` is None), with its states in order."""

    name: str
    spec: OrganismSpec | None
    states: tuple[PlayState, ...]
    system: str | None = None
    """The system prompt of its study's tasks (see `Question.under`)."""
    tasks: tuple[Question, ...] = ()
    """Held-out tasks that its study brought."""

    def side(self, question: Question) -> str | None:
        """Of a prompt among these tasks the name of the variant that it is, "" for a plain one; None of any other."""
        named = (("", task) for task in self.tasks), (pair for task in self.tasks for pair in task.variants)
        return next((name for pairs in named for name, prompt in pairs if prompt.under(self.system) == question), None)


def subjects(folders: Sequence[Path], say: Callable[[str], None]) -> list[PlaySubject]:
    """What the folders hold, in their order, each under a name of its own; a folder that is named twice, once.

    Args:
        say: told of models of a run that cannot be had, and are left out.

    Raises:
        UserError: a folder holds no model, or none of its models can be had.
    """
    found: list[tuple[Path, PlaySubject]] = []
    sound: set[Path] = set()
    for folder in {folder.resolve(): folder for folder in folders}.values():
        found += [(folder, one) for one in _held(folder, sound, say)]
    times = Counter(one.name for _, one in found)
    return [one if times[one.name] == 1 else replace(one, name=one_line(f"{one.name} ({at})")) for at, one in found]


def _held(folder: Path, sound: set[Path], say: Callable[[str], None]) -> list[PlaySubject]:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}", HINT)
    if (folder / CARD).is_file():
        return _grouped([(folder.resolve().name, read_card(folder, sound))])
    if cards := sorted(folder.glob(f"models/*/{CARD}")):
        return _grouped(_of_a_run(folder, cards, sound, say))
    return [_suspect(folder)]


def _of_a_run(
    run: Path, cards: Sequence[Path], sound: set[Path], say: Callable[[str], None]
) -> Iterator[tuple[str, Card]]:
    lost: UserError | None = None
    had = 0
    for path in cards:
        try:
            yield path.parent.name, read_card(path.parent, sound)
            had += 1
        except UserError as error:
            lost = error
            say(f"left out: {error.what}")
    if lost and not had:
        raise UserError(f"no model of {run} can be had: {lost.what}", lost.remedy)


def _grouped(cards: Iterator[tuple[str, Card]] | list[tuple[str, Card]]) -> list[PlaySubject]:
    """The models that come from one organism, together."""
    groups: dict[tuple[tuple[Path, ...], OrganismSpec], list[tuple[str, Card]]] = {}
    for name, card in cards:
        groups.setdefault((_planted(card), card.spec), []).append((name, card))
    return [_subject(folders, group) for (folders, _), group in groups.items()]


def _planted(card: Card) -> tuple[Path, ...]:
    """The folders of the organism, before its treatments: each adds one."""
    return card.model.folders[: max(1, len(card.model.folders) - len(card.chain))]


def _subject(planted: tuple[Path, ...], group: list[tuple[str, Card]]) -> PlaySubject:
    group.sort(key=lambda one: one[1].intervention)
    name, first = group[0]
    if first.intervention:
        name = name.removesuffix(f"-{first.intervention}")
    chat = first.model.chat
    states = []
    if len(planted) > 1:
        states.append(PlayState(ModelRef(planted[:-1], "base", chat), "clean base", shown=False, base=True))
    states.append(PlayState(ModelRef(planted, "planted", chat), "as planted"))
    for _, card in group:
        if card.intervention:
            states += _checkpoints(card)
    return PlaySubject(one_line(name), first.spec, tuple(states), first.system, tuple(first.tasks))


def _checkpoints(card: Card) -> list[PlayState]:
    """The end of a treatment, and before it the checkpoints on the way that are still there."""
    *below, last = card.model.folders
    name = one_line(card.intervention)
    end = PlayState(card.model, f"after {name}")
    others = [path for path in sorted(last.parent.glob("step-*")) if path != last and _is_model(path)]
    return [
        *(
            PlayState(ModelRef((*below, path), str(path), card.model.chat), f"{name}, step {step}", shown=False)
            for path in others
            if (step := _step(path)) is not None
        ),
        end,
    ]


def _step(path: Path) -> int | None:
    found = STEP.fullmatch(path.name)
    return int(found[1]) if found else None


def _is_model(path: Path) -> bool:
    return any((path / name).is_file() for name in ("config.json", "adapter_config.json"))


def _suspect(folder: Path) -> PlaySubject:
    if not _is_model(folder):
        raise UserError(f"{folder} holds no run and no model", HINT)
    found = named(str(folder))
    states = [PlayState(found.suspect.model, "as it is")]
    if found.base and found.base.model.folders != found.suspect.model.folders:
        states.insert(0, PlayState(found.base.model, "clean base", shown=False, base=True))
    return PlaySubject(one_line(folder.resolve().name), None, tuple(states))
