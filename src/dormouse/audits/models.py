"""Models in memory between the tasks of one audit: loading takes as long as some locators need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dormouse.locators.locator import Case
from dormouse.records import ModelRef

if TYPE_CHECKING:
    from dormouse.lm.lent import Mark
    from dormouse.lm.model import LM


class Models:
    """Loads each model once. One that a task has left otherwise than it found it is loaded again for the next."""

    def __init__(self) -> None:
        self._held: dict[ModelRef, tuple[LM, Mark]] = {}

    def lend(self, case: Case) -> Case:
        """The same case with its models in memory. Its clock goes on while they are loaded."""
        case.__dict__["lm"] = self._loaded(case.suspect.model)
        if case.base is not None:
            case.__dict__["base_lm"] = self._loaded(case.base.model, case)
        return case

    def _loaded(self, ref: ModelRef, against: Case | None = None) -> LM:
        from dormouse.lm.lent import changed, mark_of
        from dormouse.lm.load import load
        from dormouse.lm.rounded import held_against

        if ref not in self._held or changed(*self._held[ref]):
            self._held.pop(ref, None)
            lm = load(ref) if against is None else held_against(ref, against.lm, against.suspect.model)
            self._held[ref] = lm, mark_of(lm)
        return self._held[ref][0]
