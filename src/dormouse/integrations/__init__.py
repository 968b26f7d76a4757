"""Where dormouse meets other programs: a browser, evaluation frameworks, trackers of experiments."""
