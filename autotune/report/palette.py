"""Colours that readers with any colour vision can tell apart, on light and dark ground.

After Okabe and Ito (2008); symbols differ too, so that no meaning rests on colour alone.
"""

from __future__ import annotations

from autotune.domain import State

BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
RED, PINK, GREY = "#D55E00", "#CC79A7", "#8A8F98"
SERIES = (SKY, ORANGE, GREEN, PINK, RED, BLUE, GREY)
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "hexagon")
SCALE = ("#2F4F8F", "#6E7191", "#9B9576", "#C7B758", "#F5DD3B")
"""Dull to bright; like Cividis without the ends that vanish on dark or light ground."""

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
STATE_ICON = {
    State.COMPLETE: ":material/check_circle:",
    State.RUNNING: ":material/play_circle:",
    State.QUEUED: ":material/schedule:",
    State.PRUNED: ":material/content_cut:",
    State.INFEASIBLE: ":material/block:",
    State.FAILED: ":material/error:",
    State.INTERRUPTED: ":material/pause_circle:",
}
