"""Whether this process is one of several that train one model together."""

from __future__ import annotations

import os

from dormouse.errors import UserError


def refuse_launched() -> None:
    """One process does a stage while the others would wait for it, and the training in it would wait for them.

    Raises:
        UserError: this is one of several processes that torchrun or accelerate launched.
    """
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes not in ("", "1"):
        raise UserError(
            f"dormouse was launched as {processes} processes at once (torchrun, accelerate launch)",
            "start it once, plainly: it makes processes of its own (--workers, --executor ray). A training of your own "
            "may be launched so: dormouse.lm.train",
        )
