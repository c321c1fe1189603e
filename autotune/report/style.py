"""Colours for readers with any colour vision, on a light or dark background.

After Okabe and Ito (2008). Symbols differ too, so that colour alone carries no meaning.
"""

from __future__ import annotations

import html
import textwrap

from autotune.domain import State

BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
RED, PINK, GREY = "#D55E00", "#CC79A7", "#8A8F98"
INK, PALE = "#24292f", "#a9b1bb"
SERIES = (SKY, ORANGE, GREEN, PINK, RED, BLUE, GREY)
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "hexagon")
SCALE = ("#2F4F8F", "#6E7191", "#9B9576", "#C7B758", "#F5DD3B")
"""Dark to bright: Cividis without its ends, which vanish on a dark or light background."""

STATE_COLOUR = {
    State.COMPLETE: SKY,
    State.RUNNING: GREEN,
    State.QUEUED: GREY,
    State.PRUNED: ORANGE,
    State.INFEASIBLE: PINK,
    State.FAILED: RED,
    State.INTERRUPTED: GREY,
}
STATE_SYMBOL = {
    State.COMPLETE: "circle",
    State.RUNNING: "triangle-right",
    State.QUEUED: "circle-open",
    State.PRUNED: "triangle-down",
    State.INFEASIBLE: "x",
    State.FAILED: "cross",
    State.INTERRUPTED: "diamond-open",
}


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
