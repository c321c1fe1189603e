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


MAX_DIGITS = 9
"""Digits of the number of a trial."""


def parse_trial_number(text: str) -> int | None:
    """``text`` as the number of a trial; ``None`` if it is none. ``str.isdigit`` also accepts
    digits that ``int`` rejects, such as ``²``, and numbers of any length."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"  # C0, C1, order of writing
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def control_character(text: str) -> str | None:
    """The first character of ``text`` that controls a terminal or that UTF-8 cannot express, as
    ``U+001B``; ``None`` if there is none. Tabs and line feeds are text."""
    match = _CONTROL.search(text) or _SURROGATE.search(text)
    return f"U+{ord(match[0]):04X}" if match else None


def escape_control_characters(text: str) -> str:
    """``text`` with JSON's escapes for the characters that :func:`printable` removes."""
    pattern = f"{_CONTROL.pattern}|{_SURROGATE.pattern}"
    return re.sub(pattern, lambda match: f"\\u{ord(match[0]):04x}", text)


def printable(text: str) -> str:
    """``text`` without characters that control a terminal; lone surrogates become U+FFFD."""
    return replace_surrogates(_CONTROL.sub("", text))


def replace_surrogates(text: str) -> str:
    """``text`` with U+FFFD for lone surrogates, such as half of an emoji that was cut: JSON can
    express them, UTF-8 cannot, and tokenizers and files refuse them."""
    return _SURROGATE.sub("\ufffd", text)


def one_line(text: object) -> str:
    """``text`` as one line for messages and comments: line breaks and other characters that cannot
    be printed become escapes such as ``\\n``."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def first_line(error: object) -> str:
    """The first line of the text of an error; the name of its type if it has no text."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def format_address(host: str, port: int) -> str:
    """``host:port`` as in a URL, where an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


_URL_PASSWORD = re.compile(
    r"(://(?!\[[0-9A-Fa-f:.]+(?:%\w+)?\])[^\s/@:]*:)"  # an IPv6 address is no user
    r"([^\s]*(?=@)|(?!\d+(?:[\s/?#,]|$))[^\s/?#]+)"
)
_NAMED_PASSWORD = re.compile(r"\b(\w*password\w*\s*=\s*)('[^']*'|[^\s&]+)", re.IGNORECASE)


def mask_passwords(text: str, *urls: str) -> str:
    """``text`` with ``***`` for the passwords of URLs and connection strings in it, and for the
    parts of the passwords of ``urls``, which drivers quote where they misread a URL."""
    text = _NAMED_PASSWORD.sub(r"\1***", _URL_PASSWORD.sub(r"\1***", text))
    passwords = [match[2] for match in map(_URL_PASSWORD.search, urls) if match]
    parts = {part for password in passwords for part in re.split("[@:/?#]", password)}
    for part in sorted((part for part in parts if len(part) > 1), key=len, reverse=True):
        text = text.replace(part, "***")
    return text


def shorten(text: str, length: int = 60) -> str:
    """The start of ``text``, for messages that repeat what a user typed."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
