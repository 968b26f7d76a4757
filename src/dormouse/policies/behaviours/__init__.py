"""One behaviour a file. Every file here is imported when plug-ins are loaded: a new one needs no other line.

Judges come with them: they say what a behaviour of the user's own is.
"""

from dormouse.policies import judges as judges
from dormouse.registry import import_all

import_all(__name__, __path__)
