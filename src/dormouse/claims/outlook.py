"""What is known of a study's claims before it runs."""

from __future__ import annotations

from dormouse.claims.effects import FEWEST
from dormouse.studies.design import Design


def outlook(design: Design) -> list[str]:
    """By which arms and seeds each claim will be answered, in a line."""
    lines = []
    for pairing in design.comparisons:
        claim, setups = pairing.claim, list(pairing.setups())
        seeds = design.seeds(dict.fromkeys(arm for one in setups for arm in one.arms))
        arms = f"{len({arm for one in setups for arm in one.these})} of its arms"
        those = f"{len({arm for one in setups for arm in one.those})}"
        those = f"{claim.against:g}" if isinstance(claim.against, float) else those
        few = f"; fewer than {FEWEST} seeds decide nothing" if len(seeds) < FEWEST else ""
        lines.append(f"claim {claim.id}: {arms} against {those}, set-ups: {len(setups)}, seeds: {len(seeds)}{few}")
    return lines
