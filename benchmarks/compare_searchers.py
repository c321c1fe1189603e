"""Ours against the peers on recorded landscapes: simulated seconds until the search has reached 90,
95 and 99% of the hypervolume of trying everything.

    pip install -e '.[benchmarks]'        # Syne Tune and Ax
    python benchmarks/compare_searchers.py benchmarks/landscapes/sst2.parquet --seeds 30

Every searcher starts after the default configuration was measured, pays what its trials took (of
those it stopped early, until then), and never pays twice for a strategy. Ours is the whole search
as it is: tuner, store, sampler, sharing and early stopping. Walks are kept in ``--cache``, so that
a run that was cut short goes on; ``--fresh NAME`` forgets those of a searcher. Ax thinks for
seconds before each trial: give it processes of its own with ``--searchers Ax --jobs N``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from peers import PEERS, Space
from peers import walk as walk_of_peer
from replaying import ENOUGH, Judge, Step, Walk, ours

from autotune.execution.replay.benchmark import read

SHARES = (0.90, 0.95, 0.99)
AT = 0.95
"""The share at which searchers are set against each other."""

OURS = "autotune"

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    OURS: {"sampler": "factored"},
    "autotune, nothing stopped": {"sampler": "factored", "stopping": "none"},
    "autotune, nothing shared": {"sampler": "factored", "sharing": False, "stopping": "none"},
    "autotune, sampler tpe": {"sampler": "tpe"},
    "autotune, sampler random": {"sampler": "random"},
}
"""Our search, and what each of its parts adds (asked for with ``--searchers``)."""

DEFAULT = (OURS, *PEERS)

MOST_TRIALS = {"Ax": 80, "Syne Tune MO-ASHA": 432}
UNTIL = {"Ax": 0.95}
"""Where a peer is cut off that takes minutes of real time: Ax to think, and MO-ASHA to sort what it
has stopped again and again. Ax is also let go when it has reached 95%."""


@dataclass(frozen=True)
class Order:
    """One walk to be taken: whose, over which landscape, with which seed."""

    landscape: Path
    searcher: str
    seed: int
    cache: Path

    @property
    def path(self) -> Path:
        name = re.sub(r"[^a-z0-9]+", "-", self.searcher.lower())
        return self.cache / f"{self.landscape.stem}-{name}-{self.seed}.json"


@dataclass(frozen=True)
class Result:
    """What one searcher needed: seconds by share, one for each seed, infinite where it never got
    there; ``thinking`` are those to 95% with the time that it took to think."""

    searcher: str
    seconds: Mapping[float, Sequence[float]]
    thinking: Sequence[float]
    ask_ms: float
    curves: Sequence[Sequence[tuple[float, float]]]


def take(order: Order) -> None:
    """Take a walk, unless it was taken before."""
    if order.path.exists():
        return
    judge = Judge(read(order.landscape))
    if order.searcher in VARIANTS:
        walk = ours(judge, seed=order.seed, **VARIANTS[order.searcher])
    else:
        peer = PEERS[order.searcher](Space.of(judge), order.seed)
        most = {"proposals": MOST_TRIALS[order.searcher]} if order.searcher in MOST_TRIALS else {}
        walk = walk_of_peer(judge, peer, UNTIL.get(order.searcher, ENOUGH), **most)
    steps, stopped = (
        [[step.seconds, step.strategy.key, round(step.thought, 4)] for step in some]
        for some in (walk.steps, walk.stopped)
    )
    text = json.dumps({"steps": steps, "stopped": stopped, "seconds": walk.seconds,
                       "asked": [round(seconds, 5) for seconds in walk.asked]})  # fmt: skip
    part = order.path.with_suffix(f".{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(order.path)


def taken(order: Order, judge: Judge) -> Walk:
    """A walk from the cache."""
    found = json.loads(order.path.read_text(encoding="utf-8"))
    steps, stopped = (
        [Step(at, judge.trials[key].strategy, thought) for at, key, thought in found[name]]
        for name in ("steps", "stopped")
    )
    return Walk(steps, found["seconds"], found["asked"], stopped)


def result(searcher: str, walks: Sequence[Walk], judge: Judge) -> Result:
    curves = [judge.reached(walk.steps) for walk in walks]
    asked_for = [share for share in SHARES if share <= UNTIL.get(searcher, 1.0)]
    seconds = {
        share: [next((at for at, now in curve if now >= share), math.inf) for curve in curves]
        for share in asked_for
    }
    thinking = [
        next(
            (
                at + step.thought
                for step, (at, now) in zip(walk.steps, curve, strict=True)
                if now >= AT
            ),
            math.inf,
        )
        for walk, curve in zip(walks, curves, strict=True)
    ]
    asked = [seconds for walk in walks for seconds in walk.asked]
    return Result(searcher, seconds, thinking, 1e3 * median(asked) if asked else 0.0, curves)


# ---------------------------------------------------------------------------------------- printing


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third; an infinite one stays infinite."""
    first, middle, third = np.quantile(values, [0.25, 0.5, 0.75], method="nearest")
    return float(first), float(middle), float(third)


def table(results: Sequence[Result], judge: Judge) -> Iterator[str]:
    """Simulated seconds, median and quartiles; shares of the exhaustive cost; ratios to ours."""
    total = judge.exhaustive_seconds
    mine = next((r for r in results if r.searcher == OURS), None)
    yield (
        f"{judge.landscape.name}: {len(judge.trials)} strategies, {total:,.0f} s to try all; "
        f"{len(judge.best)} on the front; {len(results[0].curves)} seeds"
    )
    header = "".join(f"{f'seconds to {share:.0%}':>26}" for share in SHARES)
    header += f"{'at 95%: cost':>14}{'x ours':>8}{'with thinking':>15}{'x ours':>8}{'ask ms':>9}"
    yield f"{'':26}{header}"
    for found in results:
        cells = "".join(f"{_cell(found.seconds.get(share)):>26}" for share in SHARES)
        at, thinking = _median(found.seconds[AT]), _median(found.thinking)
        by = at / _median(mine.seconds[AT]) if mine is not None else math.nan
        by_thinking = thinking / _median(mine.thinking) if mine is not None else math.nan
        yield (
            f"{found.searcher:26}{cells}{_percent(at / total):>14}{_times(by):>8}"
            f"{_seconds(thinking):>15}{_times(by_thinking):>8}{found.ask_ms:9.1f}"
        )


def _median(values: Sequence[float]) -> float:
    return quartiles(values)[1]


def _cell(values: Sequence[float] | None) -> str:
    if values is None:
        return "not run"
    first, middle, third = (_seconds(value) for value in quartiles(values))
    return f"{middle} ({first} to {third})"


def _seconds(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:,.0f}"


def _percent(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.1%}"


def _times(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{value:.1f}"


def document(results: Sequence[Result], judge: Judge) -> dict[str, Any]:
    """All figures as plain data; ``null`` where a search never got there."""
    return {
        "landscape": judge.landscape.name,
        "strategies": len(judge.trials),
        "exhaustive_seconds": judge.exhaustive_seconds,
        "searchers": {
            found.searcher: {
                "ask_ms": found.ask_ms,
                "seconds_to_95_with_thinking": [_plain(v) for v in found.thinking],
                "seconds": {
                    f"{share:.0%}": [_plain(v) for v in values]
                    for share, values in found.seconds.items()
                },
            }
            for found in results
        },
    }


def _plain(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 2)


# ---------------------------------------------------------------------------------------- the plot

WIDTH, HEIGHT, LEFT, TOP = 760, 360, 60, 40
COLOURS = ("#0b6e4f", "#8d99ae", "#3a5ba0", "#c8553d", "#e0a030", "#7b4b94", "#444444", "#5fad56")
LEAST_COST, LEAST_SHARE = 0.002, 0.5


def plot(results: Sequence[Result], judge: Judge) -> str:
    """Median share of the hypervolume over the cost, in shares of trying everything, as SVG."""
    costs = np.geomspace(LEAST_COST, 1.0, 160)
    parts = [
        f'<text x="{LEFT}" y="20">{judge.landscape.name}: hypervolume reached (median over seeds)'
        f" by simulated cost, both as shares of trying all {len(judge.trials)} strategies</text>"
    ]
    for cost in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        x = _x(cost)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}" class="g"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 16}" class="m">{cost:.1%}</text>')
    for share in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0):
        y = _y(share)
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="g"/>')
        parts.append(f'<text x="{LEFT - 36}" y="{y + 4:.1f}">{share:.0%}</text>')
    for place, (found, colour) in enumerate(zip(results, COLOURS, strict=False)):
        middle = np.median([_sampled(c, costs, judge) for c in found.curves], axis=0)
        points = " ".join(
            f"{_x(cost):.1f},{_y(share):.1f}"
            for cost, share in zip(costs, middle, strict=True)
            if share >= LEAST_SHARE
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" class="c"/>')
        y = TOP + 20 + 17 * place
        parts.append(f'<text x="{LEFT + WIDTH + 14}" y="{y}" fill="{colour}">'
                     f"{found.searcher}</text>")  # fmt: skip
    style = ".g{stroke:#ddd}.c{stroke-width:2}.m{text-anchor:middle}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 180} '
        f'{TOP + HEIGHT + 30}" font-family="sans-serif" font-size="12"><style>{style}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _x(cost: float) -> float:
    return LEFT + WIDTH * math.log(cost / LEAST_COST) / math.log(1 / LEAST_COST)


def _y(share: float) -> float:
    return TOP + HEIGHT * (1 - (share - LEAST_SHARE) / (1 - LEAST_SHARE))


def _sampled(curve: Sequence[tuple[float, float]], costs: np.ndarray, judge: Judge) -> list[float]:
    """The share reached by each cost."""
    reached, place, found = 0.0, 0, []
    for cost in costs:
        while place < len(curve) and curve[place][0] <= cost * judge.exhaustive_seconds:
            reached = curve[place][1]
            place += 1
        found.append(reached)
    return found


# ------------------------------------------------------------------------------------ command line


def main() -> None:
    options = parsed()
    options.cache.mkdir(parents=True, exist_ok=True)
    judge = Judge(read(options.landscape), as_recorded=options.as_recorded)
    orders = {
        name: [Order(options.landscape, name, seed, options.cache) for seed in range(options.seeds)]
        for name in options.searchers
    }
    for name in options.fresh:
        for order in orders.get(name, []):
            order.path.unlink(missing_ok=True)
    run(take, [order for some in orders.values() for order in some], options.jobs)
    results = [
        result(name, [taken(order, judge) for order in some], judge)
        for name, some in orders.items()
    ]
    if options.plot:
        options.plot.write_text(plot(results, judge), encoding="utf-8")
    if options.json:
        print(json.dumps(document(results, judge), indent=1))
    else:
        print("\n".join(table(results, judge)))


def run(work: Callable[[Order], None], orders: Sequence[Order], jobs: int) -> None:
    """All orders, ``jobs`` at once."""
    if jobs == 1:
        for order in orders:
            work(order)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(work, orders))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landscape", type=Path)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--searchers", nargs="+", default=DEFAULT, choices=[*VARIANTS, *PEERS])
    parser.add_argument("--cache", type=Path, default=Path("runs/compare_searchers"))
    parser.add_argument("--fresh", nargs="*", default=[], help="searchers to run again")
    parser.add_argument("--jobs", type=int, default=1, help="walks at once")
    parser.add_argument("--as-recorded", action="store_true",
                        help="score by each trial's own numbers, not by medians")  # fmt: skip
    parser.add_argument("--plot", type=Path, help="SVG to write")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
