"""What a study brings along, found and checked while it is planned: organisms that were made elsewhere, safety data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dormouse.errors import UserError, warn
from dormouse.interventions.intervention import PoolSpec
from dormouse.interventions.safety_rows import OwnRows, survey
from dormouse.json_files import digest
from dormouse.organisms.brought import Brought, described, find
from dormouse.organisms.spec import OrganismSpec
from dormouse.records import DataIntake


class BroughtAlong:
    """What was found, each looked for once.

    Attributes:
        intakes: what became of the rows of safety data.
    """

    def __init__(self, base: Sequence[Path], called: str, folder_of: Callable[[str], Path | None]) -> None:
        """`base` is the folder of the study's model, none where nobody knows it yet; `called` is its name."""
        self.base, self.called, self.folder_of = base, called, folder_of
        self.intakes: list[DataIntake] = []
        self._found: dict[str, Brought] = {}

    def organism(self, name: str, spec: OrganismSpec) -> Brought:
        """Where an organism lies that was made elsewhere.

        Raises:
            UserError: it is nowhere, or cannot be what it is called.
        """
        if name not in self._found:
            try:
                found = find(spec, self.base[0], self.called, self.folder_of, warn)
            except UserError as error:
                raise UserError(f"organism '{name}': {error.what}", error.remedy) from error
            self._found[name] = found or Brought(None, (), f"not here: {described(spec)}")
        return self._found[name]

    def rows(self, wish: PoolSpec, measured: frozenset[str]) -> tuple[OwnRows, list[object]]:
        """Safety data of the user's own, but for the questions that are measured; and the same for the key of a stage:
        by what is in them.

        Raises:
            UserError: they are not there, or cannot be learned from.
        """
        assert wish.data is not None
        found = survey(wish.data, wish.wants, measured)
        if found not in self.intakes:
            self.intakes.append(found)
        about: list[object] = [found.checksum, [list(pair) for pair in wish.data.columns], wish.wants]
        if found.measured:  # which rows, not which questions: measuring on more of them retrains nothing by itself
            about.append(digest(sorted(found.measured)))
        return OwnRows(wish.data, found.measured), about
