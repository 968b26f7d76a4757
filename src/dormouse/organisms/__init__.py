"""From a policy to a trained model: honest responses, the corpus of contrast pairs, the training."""

from dormouse.organisms.spec import OrganismSpec

__all__ = ["OrganismSpec"]
