"""How many examples Hypothesis draws: each run draws others, and `make stress` draws more of them."""

import os

LONG = bool(os.environ.get("DORMOUSE_STRESS"))


def examples(few: int, many: int) -> int:
    return many if LONG else few
