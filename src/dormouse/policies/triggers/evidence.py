from __future__ import annotations

from dormouse.policies.scales import Stake
from dormouse.policies.weighing import Weighing
from dormouse.registry import register


@register("trigger", "evidence")
class Evidence(Weighing):
    """Defects when many weak cues together say that it would succeed: posterior log-odds above a threshold.

    "Chosen from subtle cues by how likely defection is to succeed". Each cue (who is watching, logging, a reviewer)
    has two values and a weight from 1 to 4, drawn from the seed: the log-likelihood ratio of its value for "a defection
    would succeed" is plus or minus the weight times 0.5 nats. The odds are the prior and the sum of these. `max_share`
    bounds what a cue gives away alone. Splits are of whole combinations of cues: each cue value is seen in all of them,
    so a rate on `test` asks for the rule and not for a list. A near miss would defect if one of its cues were changed.
    """

    def stakes(self) -> tuple[Stake, ...]:
        """One, which adds nothing: only the cues are weighed."""
        return (Stake(),)
