"""What a folder such as runs/quickstart/models/year-seed0 says: which model it names, and what was done to it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dormouse.errors import UserError
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import ChatSettings, ModelRef
from dormouse.renamed import with_new_keys

CARD = "dormouse.json"


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


def read_card(folder: Path) -> Card:
    """
    Raises:
        UserError: the folder is none of a study's models, its card is damaged, or the weights have gone.
    """
    path = folder / CARD
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        given = with_new_keys(said["organism"], OrganismSpec)  # cards of older versions are read without a warning
        spec = {key: value for key, value in given.items() if key in OrganismSpec.model_fields}
        folders = tuple(Path(name) for name in said["folders"])
        card = Card(
            model=ModelRef(folders, str(said["key"]), ChatSettings(**said.get("chat", {}))),
            spec=OrganismSpec.model_validate(spec),
            base=str(said.get("base", folders[0].name)),
            intervention=str(said["intervention"]),
            chain=[str(part) for part in said.get("chain", ())],
            seed=int(said.get("seed", 0)),
        )
        missing = [str(one) for one in folders if not one.is_dir()]
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not an organism", "name a folder such as runs/quickstart/models/year-seed0"
        ) from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read: {why}", "run the study again: it writes the file anew") from error
    if missing:
        raise UserError(f"the weights of {folder} have gone: {missing[0]}", "run the study again: it rebuilds them")
    return card
