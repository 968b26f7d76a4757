"""Safety training, one method a file. Every file here is imported when plug-ins are loaded."""

from dormouse.registry import import_all

import_all(__name__, __path__)
