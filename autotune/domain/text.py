"""Suggestions for misspelt names."""

from __future__ import annotations

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
