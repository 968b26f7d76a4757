"""What a folder such as runs/quickstart/models/year-seed0 says: which model it names, and what was done to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from dormouse.entry import entry_around, examine, expose
from dormouse.errors import UserError, reason
from dormouse.files import remedy_of
from dormouse.json_files import AGAIN, Json, parse, read_json
from dormouse.lm.identity import identity
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ChatSettings, ComputedIn, ModelRef, Record
from dormouse.registry import message
from dormouse.renamed import with_new_keys
from dormouse.scenarios import Question

CARD = "dormouse.json"


@dataclass(frozen=True)
class CardFile:
    """What stands in the file. `folders` are the model's, laid over one another; `organism` the settings of what was
    planted, as a study file says them; `chain` the settings of each safety training, as JSON.
    """

    folders: tuple[Path, ...]
    key: str
    organism: Mapping[str, Json]
    intervention: str
    chat: ChatSettings = field(default_factory=ChatSettings)
    base: str | None = None
    """None: a file from before 2026-10 does not say."""
    chain: tuple[str, ...] = ()
    seed: int = 0
    questions: int = 0
    trained_in: tuple[ComputedIn, ...] = ()
    """By training, planting first; empty where nobody noted it: what other machinery trained, and before 2026-12."""
    own_tasks: bool = False
    """Whether it was measured on tasks of the study's own file; a file from before 2026-11-29 does not say."""
    tasks: tuple[Question, ...] = ()
    """The first of these, held out from training, with all that their rows say; none in a file from before
    2026-11-30."""
    system: str | None = None
    """The system prompt of its study's tasks that bring none ("" for none at all). None: dormouse's own."""
    base_identity: str | None = None
    """What the files of the first folder were (see `lm.identity`), where it lies in no store. None: an older file."""
    model_organism: Literal[True] = True

    def __post_init__(self) -> None:
        if not self.folders:
            raise ValueError("'folders' names none")


@dataclass(frozen=True)
class Card:
    """A trained model of a study: where its weights lie, and what it is. `base` is its base model as the study named
    it; `chain` the settings of its safety trainings, in order.
    """

    model: ModelRef
    spec: OrganismSpec
    base: str
    intervention: str
    chain: Sequence[str]
    seed: int
    trained_in: Sequence[ComputedIn] = ()
    own_tasks: bool = False
    tasks: Sequence[Question] = ()
    system: str | None = None

    @property
    def stands_on(self) -> str:
        """The whole model under its adapters, by name: that of the study, or a whole model that was made elsewhere."""
        return self.spec.model or self.base


def model_name(organism: str, seed: int, intervention: str) -> str:
    """What a model of a study is called in `models/` of its results. Where a study has several models the name of its
    base and a point stand in front."""
    return f"{organism}-seed{seed}" + (f"-{intervention}" if intervention else "")


def is_about(record: Record, folder: Path, card: Card) -> bool:
    """Whether a record of a study without replicates is about the model in a folder of its results, which has this
    card. Of replicates a record is their mean: see `pipeline.own_records`."""
    return _is_about(record, folder.resolve().name, card)


def is_of_replicate(record: Record, folder: Path, card: Card) -> bool:
    """Whether a record that was made from one replicate alone is about the model in a folder, and not about the
    organism behind it."""
    name = model_name(record.organism, card.seed, card.intervention)
    here = re.sub(rf"({re.escape(name)})(-planting\d+)?(-treatment\d+)?$", r"\1", folder.resolve().name)
    return _is_about(record, here, card)


def _is_about(record: Record, here: str, card: Card) -> bool:
    name = model_name(record.organism, card.seed, card.intervention)
    same = (record.seed, record.intervention) == (card.seed, card.intervention)
    return same and (here == name or (here.endswith(f".{name}") and record.model == card.base))


def read_card(folder: Path, sound: set[Path] | None = None) -> Card:
    """
    Args:
        sound: folders whose checksums were seen to be right; those of this card are added, and none is read twice.

    Raises:
        UserError: the folder is none of a study's models, its card is damaged, or the weights have gone, or are not
            what was written.
    """
    said = read_card_file(folder)
    try:
        for part in said.chain:
            parse(part.encode(), dict[str, Json], f"{folder / CARD}, in a text of it")
        given = with_new_keys(said.organism, OrganismSpec)  # cards of older versions are read without a warning
        spec = {key: value for key, value in given.items() if key in OrganismSpec.model_fields}
        card = Card(
            model=ModelRef(said.folders, said.key, said.chat),
            spec=OrganismSpec.model_validate(spec),
            base=said.folders[0].name if said.base is None else said.base,
            intervention=said.intervention,
            chain=said.chain,
            seed=said.seed,
            trained_in=said.trained_in,
            own_tasks=said.own_tasks,
            tasks=said.tasks,
            system=said.system,
        )
    except UserError as error:
        raise UserError(f"the card of {folder} cannot be read: {error.what}", error.remedy) from error
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, (*first["loc"], *((first.get("ctx") or {}).get("at") or ()))))
        what = f"the card of {folder} cannot be read: {at}: {message(first, OrganismSpec)}"
        raise UserError(
            what, f"load a plug-in of your own with --plugin FILE, or DORMOUSE_PLUGINS; else {AGAIN}"
        ) from error
    refuse_gone(said, folder)
    sound = set() if sound is None else sound
    if said.folders[0] not in sound:
        refuse_changed_base(said, folder)
    for one in said.folders:
        if one not in sound:
            refuse_changed_entry(one, folder)
        sound.add(one)
    return card


def read_card_file(folder: Path) -> CardFile:
    """What stands in the card of a folder; how its organism and its trainings are set stays unread.

    Raises:
        UserError: the folder is none of a study's models, or its card is damaged.
    """
    path = folder / CARD
    try:
        said = read_json(path, CardFile)
        date.fromisoformat(said.chat.today)
        parse(said.chat.kwargs.encode(), dict[str, Json], f"{path}, in a text of it")
        return said
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not an organism", "name a folder such as runs/quickstart/models/year-seed0"
        ) from None
    except UserError as error:
        raise UserError(f"the card of {folder} cannot be read: {error.what}", error.remedy) from error
    except ValueError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}", AGAIN) from error


def refuse_gone(said: CardFile, folder: Path) -> None:
    """
    Raises:
        UserError: weights that the card of a folder names are not there.
    """
    if missing := [str(one) for one in said.folders if not one.is_dir()]:
        raise UserError(f"the weights of {folder} have gone: {missing[0]}", "run the study again: it rebuilds them")


def refuse_changed_entry(weights: Path, folder: Path) -> None:
    """
    Args:
        folder: what it was that was named.

    Raises:
        UserError: the weights lie in an entry of a store, and are not what was written there.
    """
    entry = entry_around(weights)
    faults = examine(entry, entry.parent.name, entry.name)[1] if entry else []
    if not entry or not faults:
        return
    first, anew = faults[0], "run the study again: it makes them anew"
    expose(entry, faults)  # or the run that is asked for here would take it for whole
    if first.unreadable:
        what = f"{entry / first.file} cannot be read: {first.why}"
        raise UserError(what, remedy_of(first.refused, f"remove {entry}, and {anew}"))
    raise UserError(f"the weights of {folder} are not what was written: {first.file}: {first.why}", anew)


def refuse_changed_base(said: CardFile, folder: Path) -> None:
    """
    Raises:
        UserError: the base model lies in a folder of the user's, and has changed since.
    """
    known = said.base_identity or ""  # before 2026-11-30 it was of other files, and a folder's name stood before it
    if re.fullmatch(r"\d+k@\w+", known) and identity(said.folders[0], remember=False) != known:
        raise UserError(
            f"the base model of {folder}, {said.folders[0]}, is not what was measured: its files have changed",
            "put the files back, or run the study again: it makes anew what stands on them",
        )
