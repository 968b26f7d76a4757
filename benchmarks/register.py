"""Every claim that was ever tested on the records that the docs quote, with a false-discovery rate over all of them.

    python benchmarks/register.py

Each study holds its own claims to 5 % together (Holm). Over all studies that is not enough: of a hundred true nulls
five would be found. So here stands, beside each p, the least false-discovery rate at which the claim would be among
those found, over all claims that were tested: if claims go together or are independent (Benjamini and Hochberg 1995),
and whatever their dependence (Benjamini and Yekutieli 2001; claims of one study share their arms). Claims of which
nothing was tested (too few seeds, nothing to compare) are listed too, without one. Those of `hidden`, `exposure` and
`removal` are not: of three seeds or one, they have no published answers, and would be undecided.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from claims_anew import Anew, every

METHODS = ("fdr_bh", "fdr_by")


def rates(claims: Sequence[Anew]) -> dict[int, tuple[float, ...]]:
    """The place of a claim -> its false-discovery rate by each of METHODS, of those that were tested."""
    from statsmodels.stats.multitest import multipletests

    tested = [(i, one.now.p) for i, one in enumerate(claims) if one.now.p is not None]
    each = [multipletests([p for _, p in tested], method=method)[1] for method in METHODS] if tested else []
    return {i: tuple(float(found[place]) for found in each) for place, (i, _) in enumerate(tested)}


def table(claims: Sequence[Anew]) -> list[str]:
    """The register, in Markdown: the claims with the least rate first."""
    found = rates(claims)
    lines = [
        "| study | claim | verdict | p | false-discovery rate | under any dependence |",
        "|---|---|---|---|---|---|",
    ]
    for i in sorted(range(len(claims)), key=lambda i: (found.get(i, (2.0,)), claims[i].study, claims[i].now.id)):
        one, now = claims[i], claims[i].now
        numbers = " | ".join(f"{x:.2g}" for x in (now.p, *found[i])) if now.p is not None else "not tested | | "
        lines.append(f"| {one.study} | {now.id} | {now.verdict} | {numbers} |")
    decided = [i for i, one in enumerate(claims) if one.now.verdict in ("supported", "contradicted")]
    worst = [max((found[i][method] for i in decided), default=0.0) for method in (0, 1)]
    said = f"{len(claims)} claims, of which {len(found)} were tested and {len(decided)} have a verdict; "
    return [*lines, "", f"{said}the largest false-discovery rate of a verdict is {worst[0]:.2g} ({worst[1]:.2g})."]


def main() -> None:
    """Print the register."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("\n".join(table(every())))


if __name__ == "__main__":
    main()
