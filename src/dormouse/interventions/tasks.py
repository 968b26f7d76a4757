"""The task of a prompt of the safety pool: what is asked, without the situation that the prompt shows."""

from __future__ import annotations

from dormouse.records import PoolItem
from dormouse.scenarios import Question


def task_of(item: PoolItem) -> Question:
    """The question, with what a task of the user's own has before it. Tasks that are equal are one."""
    return Question(item.question, item.question, "safety", before=item.before)
