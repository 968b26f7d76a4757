"""What is measured, one measurement a file; `stats` turns what was measured into numbers with intervals.

Every file here is imported when plug-ins are loaded.
"""

from dormouse.registry import import_all

import_all(__name__, __path__)
