"""One judge a file. Every file here is imported when plug-ins are loaded: a new one needs no other line."""

from dormouse.registry import import_all

import_all(__name__, __path__)
