"""Text for plots. Names, reasons and logs come from users and libraries, so they are escaped."""

from __future__ import annotations

import html
import textwrap

MIN_BREAKABLE_WIDTH = 30
"""Wider labels break words that are longer than a line."""


def wrapped_label(text: object, width: int = 60) -> str:
    """``text`` for a Plotly label or hover, which interpret some HTML tags. Lines are wrapped."""
    breaks = width > MIN_BREAKABLE_WIDTH
    lines = textwrap.wrap(str(text), width, break_long_words=breaks) or [""]
    return "<br>".join(html.escape(line) for line in lines)


def one_line_label(text: object) -> str:
    """``text`` for a Plotly title or legend: one line, no tags."""
    return html.escape(" ".join(str(text).split()))
