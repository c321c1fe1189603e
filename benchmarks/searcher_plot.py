"""The plot of ``compare_searchers``: the share of the hypervolume by the cost of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from replay import Scorer

Curve = Sequence[tuple[float, float]]
"""(seconds, share of the hypervolume) after each trial."""

WIDTH, HEIGHT, LEFT, TOP = 760, 360, 60, 40
COLOURS = ("#0b6e4f", "#8d99ae", "#3a5ba0", "#c8553d", "#e0a030", "#7b4b94", "#444444", "#5fad56")
MIN_COST, MIN_SHARE = 0.002, 0.5


def plot(curves: Mapping[str, Sequence[Curve]], scorer: Scorer) -> str:
    """SVG of the median share of the hypervolume by the share of the exhaustive cost. ``curves``
    are those of each searcher, one per seed."""
    costs = np.geomspace(MIN_COST, 1.0, 160)
    parts = [
        f'<text x="{LEFT}" y="20">{scorer.landscape.name}: hypervolume reached (median over seeds)'
        f" by simulated cost, both as shares of those of all {len(scorer.trials)} strategies</text>"
    ]
    for cost in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        x = _x(cost)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}" class="g"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 16}" class="m">{cost:.1%}</text>')
    for share in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0):
        y = _y(share)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="g"/>')
        parts.append(f'<text x="{LEFT - 36}" y="{y + 4:.1f}">{share:.0%}</text>')
    for index, (name, colour) in enumerate(zip(curves, COLOURS, strict=False)):
        middle = np.median([_sampled(curve, costs, scorer) for curve in curves[name]], axis=0)
        points = " ".join(
            f"{_x(cost):.1f},{_y(share):.1f}"
            for cost, share in zip(costs, middle, strict=True)
            if share >= MIN_SHARE
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" class="c"/>')
        y = TOP + 20 + 17 * index
        parts.append(f'<text x="{LEFT + WIDTH + 14}" y="{y}" fill="{colour}">'
                     f"{name}</text>")  # fmt: skip
    style = ".g{stroke:#ddd}.c{stroke-width:2}.m{text-anchor:middle}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 180} '
        f'{TOP + HEIGHT + 30}" font-family="sans-serif" font-size="12"><style>{style}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _x(cost: float) -> float:
    return LEFT + WIDTH * math.log(cost / MIN_COST) / math.log(1 / MIN_COST)


def _y(share: float) -> float:
    return TOP + HEIGHT * (1 - (share - MIN_SHARE) / (1 - MIN_SHARE))


def _sampled(curve: Curve, costs: np.ndarray, scorer: Scorer) -> list[float]:
    """The share reached at each cost."""
    reached, index, shares = 0.0, 0, []
    for cost in costs:
        while index < len(curve) and curve[index][0] <= cost * scorer.exhaustive_seconds:
            reached = curve[index][1]
            index += 1
        shares.append(reached)
    return shares
