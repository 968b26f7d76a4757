"""The two kinds of failure that a user may see. Anything else that reaches a terminal is a bug of ours."""


class UserError(Exception):
    """Something the user can fix. `what` says what is wrong, `remedy` how to fix it.

    The command line prints both, without a traceback, and exits with code 2.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n  -> {self.remedy}"


class DormouseWarning(UserWarning):
    """Something was wrong and was fixed (a damaged store entry that was rebuilt, say). Printed, never fatal."""
