"""Foreign strings and numbers as plain text that can neither act nor hide."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

from dormouse.metrics import metric
from dormouse.records import Record

_NEVER_SEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufeff\uffa0\ud800-\udfff\U000e0000-\U000e007f"
)
_JOINERS, _VARIANTS = "\u200c\u200d", "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_SHAPED = f"(?![{_NEVER_SEEN}{_JOINERS}{_VARIANTS}])[\u0600-\U0010ffff]"
"""A sign of a script, or an emoji, that a joiner or a variation selector may give another shape."""
_DRAWN = "[\u00a9\u00ae](?=[\ufe0e\ufe0f])|[0-9#*](?=\ufe0f\u20e3)"
"""Older signs that a variation selector makes an emoji of: copyright, registered, and keycaps."""
_UNSEEN = re.compile(
    f"[{_NEVER_SEEN}]|(?<!{_SHAPED}|{_DRAWN})[{_VARIANTS}]"
    f"|(?<!{_SHAPED})(?<!\ufe0f)[{_JOINERS}]|[{_JOINERS}](?!{_SHAPED})"
)
_SPACE = "\u00a0"
NOT_MEASURED = "not measured"
MINUS = "\u2212"
ROUNDING = 1e-12
"""A difference that is no larger is none."""
EDGES = {"": "", "<=": f"\u2264{_SPACE}", ">=": f"\u2265{_SPACE}", "~": f"\u2248{_SPACE}"}
"""The sign before a number that stands for itself or anything beyond (see `Record.edge`)."""


def _code_point(match: re.Match[str]) -> str:
    return f"\u27e8U+{ord(match[0]):04X}\u27e9"


def visible(text: str) -> str:
    """The text with all that is not seen written out as numbers: control characters, bidirectional overrides, fillers,
    lone surrogates; and joiners and variation selectors where they shape nothing. Else two triggers might look alike.
    """
    return _UNSEEN.sub(_code_point, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """A foreign text on one line, with what does not print made visible."""
    return visible(" ".join(text.split()))


def sentence(text: str) -> str:
    """With a stop at its end, if it has none yet: what an organism says may end with one."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def capital(text: str) -> str:
    """A text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def cut(text: str, letters: int) -> str:
    """One line of no more letters, cut in the middle: arms of one study differ at the end."""
    plain = one_line(text)
    if len(plain) <= letters:
        return plain
    head = letters // 3
    return f"{plain[:head]}\u2026{plain[len(plain) - (letters - head - 1) :]}"


def percent(share: float) -> str:
    """A share from 0 to 1 as a percentage with one decimal."""
    return f"{hundredths(share)}{_SPACE}%" if math.isfinite(share) else "not a number"


def hundredths(share: float) -> str:
    """A share in hundredths, with one decimal. What is not quite none, or not quite all, does not look like it."""
    if 0 < share < 0.0005:
        return f"{100 * share:.1g}"
    if 0.9995 <= share < 1:
        return next(said for n in range(2, 20) if not (said := f"{100 * share:.{n}f}").startswith("100") or n > 12)
    return f"{100 * share:.1f}"


def apart(value: float, limit: float) -> str:
    """A share in percent, with so many decimals that it does not look like the limit beside it."""
    for digits in range(1, 8):
        if (said := f"{100 * value:.{digits}f}") != f"{100 * limit:.{digits}f}":
            return f"{said}{_SPACE}%"
    return percent(value)


def decimal(value: float) -> str:
    """Two decimals, or two digits where that would show nothing; none where the number is large."""
    if not math.isfinite(value):
        return "not a number"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.1 else f"{value:.2g}"


def is_share(record: Record) -> bool:
    """Whether the number is a probability or a rate: what nothing is known of is shown as a plain number."""
    return metric(record.measurement).unit == "share"


def _number(record: Record, value: float) -> str:
    """An AUROC is close to 1 where an organism is any good, so it has three decimals."""
    if metric(record.measurement).unit == "auroc" and math.isfinite(value):
        return f"{value:.{4 if 0.9995 <= value < 0.99995 else 6}f}" if 0.9995 <= value < 1 else f"{value:.3f}"
    return EDGES[record.edge(value)] + decimal(value)


def value_of(record: Record) -> str:
    """A value as a reader sees it: per cent where it is a share."""
    return percent(record.value) if is_share(record) else _number(record, record.value)


def interval_of(record: Record) -> str:
    """The 95 % interval in square brackets, or nothing where there is none."""
    if record.interval is None:
        return ""
    low, high = record.interval
    if is_share(record):
        return f"[{hundredths(low)}, {hundredths(high)}]"
    return f"[{_number(record, low)}, {_number(record, high)}]"


def with_interval(record: Record | None) -> str:
    """`99.4 % [99.0, 99.7]`."""
    return f"{value_of(record)} {interval_of(record)}".strip() if record else NOT_MEASURED


def duration(seconds: float) -> str:
    """Seconds for a reader: `61.2 s`, `12 min`, `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.1f}{_SPACE}s"
    return f"{seconds / 60:.0f}{_SPACE}min" if seconds < 7200 else f"{seconds / 3600:.1f}{_SPACE}h"


def signed(value: float) -> str:
    """A difference, with its sign; one that is rounding is none."""
    value = value if abs(value) > ROUNDING else 0.0
    return f"{'+' if value > 0 else MINUS if value < 0 else ''}{decimal(abs(value))}"


def interval(low: float, high: float, open_ends: Collection[str] = ()) -> str:
    """Two signed bounds: `[-0.12, +0.03]`; where an end is open `[-0.12 or less, +0.03]`."""
    less, more = (f" or {word}" if end in open_ends else "" for end, word in (("low", "less"), ("high", "more")))
    return f"[{signed(low)}{less}, {signed(high)}{more}]"


def steps_in_words(step: int) -> str:
    """`1 step`, `1 200 steps` (with a narrow space)."""
    return f"{step:,}".replace(",", "\u202f") + (" step" if step == 1 else " steps")
