"""Dormouse from Python: run a study, look at its results, load an organism."""
