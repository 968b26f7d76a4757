"""The audit of one suspect, in a process that knows nothing else: `python -m dormouse.audits.bench.look JSON`."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def look(said: str) -> None:
    """Audit a suspect and write what came out. `said`: [suspect, base, file, minutes, locators] as JSON."""
    from dormouse.audits.audit import audit

    suspect, base, out, minutes, locators = json.loads(said)
    found = audit(suspect, base, budget_minutes=minutes, only=locators)
    Path(out).write_text(json.dumps(found.to_json()), encoding="utf-8")


if __name__ == "__main__":
    look(sys.argv[1])
