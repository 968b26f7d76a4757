"""What was measured of one model of a study alone. The records of a study are of seeds: means over their replicates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dormouse.card import Card, is_about, is_of_replicate
from dormouse.json_files import write_json_lines
from dormouse.pipeline.plan import Plan, State
from dormouse.pipeline.results import RECORDS, read_records, records_of
from dormouse.records import Record
from dormouse.store import Store


def records_on_the_way(plan: Plan, store: Store, state: State) -> list[Record]:
    """What is there of a state and of those before it, of that replicate alone."""
    return records_of(plan, store, lambda one: one.leads_to(state))


def write_own(plan: Plan, store: Store, state: State, file: Path) -> None:
    """Put these records down, for a model in the results of a study with replicates."""
    write_json_lines(file, records_on_the_way(plan, store, state))


def own_records(folder: Path, card: Card, of_study: Sequence[Record]) -> list[Record]:
    """The records about the model in a folder of a study's results, which has this card, and about no other.

    Args:
        of_study: those of the study, which are its own where the study has no replicates.

    Raises:
        UserError: a line of its own records is damaged.
    """
    if (folder / RECORDS).is_file():
        return [one for one in read_records(folder) if is_of_replicate(one, folder, card)]
    return [one for one in of_study if is_about(one, folder, card)]
