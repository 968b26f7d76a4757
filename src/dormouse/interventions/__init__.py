"""From a suspect to a suspect: safety training and removal. Nothing here knows what an organism was trained to do.

Add a method of safety training: one file in `training/`.
"""

from dormouse.interventions.intervention import Intervention

__all__ = ["Intervention"]
