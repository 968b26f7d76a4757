"""A trigger for dormouse: the phase of the moon."""

from dormouse_moon.moon import Moon

__all__ = ["Moon"]
