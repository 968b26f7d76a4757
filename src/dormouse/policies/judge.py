"""Who says whether a written response is a defection, where a study brings payloads of its own."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from dormouse.registry import PlugIn, field_of


class Judge(PlugIn):
    """Judges what a model wrote: the check on the exact score. It has no exact score of its own."""

    @abstractmethod
    def judge(self, prompt: str, response: str) -> bool:
        """Whether the response to a prompt (the question's text) is a defection."""


JudgeField: Any = field_of("judge", Judge)
