"""Locators: one scanner a file. Each says what a suspect gives away, and is told nothing of what is in it."""

from dormouse.locators.locator import Case, Evidence, Example, Locator, Messages, Site, TriggerText
from dormouse.registry import import_all

__all__ = ["Case", "Evidence", "Example", "Locator", "Messages", "Site", "TriggerText"]

import_all(__name__, __path__)
