"""Settings that a study leaves open and that follow the size of its model."""

from __future__ import annotations

from dormouse.interventions.intervention import Intervention
from dormouse.lm.size import rate_for


def fitted(part: Intervention, model: str) -> Intervention:
    """A treatment with the learning rate that suits the size of a model, where it has one and the study left it open:
    `model_fields_set` goes on saying so."""
    if "lr" not in type(part).model_fields or "lr" in part.model_fields_set:
        return part
    usual = getattr(part, "lr")  # noqa: B009 (a field of some)
    rate = rate_for(usual, model)
    if rate == usual:
        return part
    fitted = part.model_copy(update={"lr": rate})
    fitted.model_fields_set.discard("lr")
    return fitted
