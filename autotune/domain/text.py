"""Suggestions for misspelt names, and names as text that is safe to print."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches


def closest(word: object, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name most similar to ``word``; ``None`` if none reaches ``cutoff`` (0 to 1)."""
    matches = get_close_matches(str(word), list(names), 1, cutoff)
    return matches[0] if matches else None


def suggest(word: object, names: Iterable[str]) -> str:
    """A hint after a misspelt ``word``: ``did you mean precision? valid: device, precision``."""
    names = list(names)
    match = closest(word, names)
    question = f"did you mean {match}? " if match else ""
    return f"{question}valid: {', '.join(names)}"


_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # C0, C1, order of writing
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def control_character(text: str) -> str | None:
    """The first character of ``text`` that controls a terminal or that UTF-8 cannot express, as
    ``U+001B``; ``None`` if there is none. Tabs and line feeds are text."""
    match = _CONTROL.search(text) or _SURROGATE.search(text)
    return f"U+{ord(match[0]):04X}" if match else None


def printable(text: str) -> str:
    """``text`` without characters that control a terminal; lone surrogates become U+FFFD."""
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", text))
