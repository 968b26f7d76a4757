"""Safety data of the user's own, as a study file names them: `{kind: dpo, data: hh.jsonl}`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from dormouse.interventions.intervention import PoolSpec
from dormouse.interventions.safety_rows import SafetyData
from dormouse.interventions.safety_training import MOST_ROWS, SafetyTraining


class FromData(SafetyTraining):
    """Safety training that may be given its data."""

    learns_preferences: ClassVar[bool] = False
    """Whether a row needs a worse answer too."""

    data: SafetyData | None = None
    """Rows of your own in place of the study's questions with honest answers: a file, `{file, columns}`, or a dataset
    of the hub, `{dataset, revision, subset, part}`. How many of them show the trigger is counted and said."""

    @model_validator(mode="after")
    def _says_what_it_shows(self) -> FromData:
        ours = {
            "trigger_fraction",
            "exposed_triggers",
            "contexts",
            "scratchpad_source",
            "dose",
            "context_fraction",
        } & self.model_fields_set
        if self.data is not None and ours:
            raise ValueError(f"what the prompts show is in `data`: leave out {', '.join(sorted(ours))}")
        return self

    @property
    def pool_spec(self) -> PoolSpec:
        """Rows of the data, where there are some: as many as training looks at, unless it says how many."""
        if self.data is None:
            return super().pool_spec
        return PoolSpec(
            rows=self.rows or min(MOST_ROWS, self.steps * self.batch),
            data=self.data,
            preferences=self.learns_preferences,
        )
