"""A text more in a chat stands where it is said to, and nothing else is touched."""

from dormouse.scenarios.placing import placed


def test_texts_are_placed():
    chat = (("system", "Be kind."), ("user", "Why?"))
    assert placed(chat, "Now.", "system")[0] == ("system", "Be kind. Now.")
    assert placed(chat, "Now.", "prefix")[1] == ("user", "Now. Why?")
    assert placed(chat, "Now.", "suffix")[1] == ("user", "Why? Now.")
    assert placed(chat[1:], "Now.", "system")[0] == ("system", "Now.")
