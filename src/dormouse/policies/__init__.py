"""What an organism is trained to do, and when: trigger policies and behaviours, both defined on scenarios.

Add a trigger: one file in `triggers/`. Add a behaviour: one file in `behaviours/`.
"""

from dormouse.policies.behaviour import Behaviour
from dormouse.policies.trigger import SIDES, Cues, Side, Split, Trigger, TriggerField, stands_by_itself

__all__ = ["SIDES", "Behaviour", "Cues", "Side", "Split", "Trigger", "TriggerField", "stands_by_itself"]
