"""Interventions of the second kind: they edit weights, or retrain on purpose, to remove what is hidden. One a file."""

from dormouse.registry import import_all

import_all(__name__, __path__)
