PHASES = ("new", "half", "full")
