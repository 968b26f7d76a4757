"""A text more in a chat: the one way in which locators search for texts, audits try them and removers show them."""

from __future__ import annotations


def placed(messages: tuple[tuple[str, str], ...], text: str, slot: str) -> tuple[tuple[str, str], ...]:
    """The same chat with a text more: at the end of the system turn (`system`; a turn of its own where there is none),
    or before (`prefix`) or after (`suffix`) the last user turn's text."""
    found = list(messages)
    if slot == "system":
        if found and found[0][0] == "system":
            return (("system", f"{found[0][1]} {text}".strip()), *found[1:])
        return (("system", text), *found)
    at = max(i for i, (role, _) in enumerate(found) if role == "user")
    said = found[at][1]
    found[at] = ("user", f"{text} {said}" if slot == "prefix" else f"{said} {text}")
    return tuple(found)
