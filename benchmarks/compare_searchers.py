"""autotune against other search libraries on tabular benchmarks: simulated seconds until a search
has reached 90, 95 and 99% of the hypervolume of all strategies.

    pip install -e '.[benchmarks]'        # Syne Tune and Ax
    python benchmarks/compare_searchers.py benchmarks/landscapes/sst2.parquet --seeds 30

Every searcher starts after the default configuration was measured, pays the time of its trials
(until the stop, if stopped early), and never pays twice for a strategy. autotune runs in full:
tuner, store, sampler, cached results and early stopping. Traces are kept in ``--cache``, so that an
aborted run can continue; ``--fresh NAME`` discards those of a searcher. Ax needs seconds per
proposal: run it separately with ``--searchers Ax --jobs N``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from peers import PEERS, Space, run_peer
from replay import TARGET_SHARE, Scorer, SearchTrace, TraceStep, run_autotune

from autotune.execution.replay.benchmark import read

SHARES = (0.90, 0.95, 0.99)
COMPARED_SHARE = 0.95
"""The share at which searchers are compared."""

AUTOTUNE = "autotune"

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    AUTOTUNE: {"sampler": "factored"},
    "autotune, nothing stopped": {"sampler": "factored", "stopping": "none"},
    "autotune, nothing shared": {"sampler": "factored", "sharing": False, "stopping": "none"},
    "autotune, sampler tpe": {"sampler": "tpe"},
    "autotune, sampler random": {"sampler": "random"},
}
"""autotune, and without each of its parts (select with ``--searchers``)."""

DEFAULT = (AUTOTUNE, *PEERS)

MAX_PROPOSALS = {"Ax": 80, "Syne Tune MO-ASHA": 432}
TARGETS = {"Ax": 0.95}
"""Limits of searchers that need minutes of real time: Ax for its proposals, MO-ASHA for sorting its
stopped trials. Ax also ends at 95%."""


@dataclass(frozen=True)
class RunSpec:
    """One search to run: benchmark, searcher and seed."""

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
    """Simulated seconds by share of the hypervolume, one per seed, infinite if it was not reached.
    ``seconds_with_asking`` are those to 95% including the CPU time of proposals."""

    searcher: str
    seconds: Mapping[float, Sequence[float]]
    seconds_with_asking: Sequence[float]
    ask_ms: float
    curves: Sequence[Sequence[tuple[float, float]]]


def run_search(spec: RunSpec) -> None:
    """Run a search unless its trace is cached."""
    if spec.path.exists():
        return
    scorer = Scorer(read(spec.landscape))
    if spec.searcher in VARIANTS:
        trace = run_autotune(scorer, seed=spec.seed, **VARIANTS[spec.searcher])
    else:
        peer = PEERS[spec.searcher](Space.from_scorer(scorer), spec.seed)
        limit = MAX_PROPOSALS.get(spec.searcher)
        limits = {} if limit is None else {"max_proposals": limit}
        trace = run_peer(scorer, peer, TARGETS.get(spec.searcher, TARGET_SHARE), **limits)
    steps, stopped = (
        [[step.seconds, step.strategy.key, round(step.ask_seconds, 4)] for step in part]
        for part in (trace.steps, trace.stopped)
    )
    text = json.dumps({"steps": steps, "stopped": stopped, "seconds": trace.seconds,
                       "asked": [round(seconds, 5) for seconds in trace.ask_seconds]})  # fmt: skip
    temporary = spec.path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(spec.path)


def load_trace(spec: RunSpec, scorer: Scorer) -> SearchTrace:
    """A trace from the cache."""
    document = json.loads(spec.path.read_text(encoding="utf-8"))
    steps, stopped = (
        [
            TraceStep(seconds, scorer.trials[key].strategy, ask_seconds)
            for seconds, key, ask_seconds in document[name]
        ]
        for name in ("steps", "stopped")
    )
    return SearchTrace(steps, document["seconds"], document["asked"], stopped)


def summarize(searcher: str, traces: Sequence[SearchTrace], scorer: Scorer) -> Result:
    curves = [scorer.shares(trace.steps) for trace in traces]
    shares = [share for share in SHARES if share <= TARGETS.get(searcher, 1.0)]
    seconds = {
        share: [next((at for at, s in curve if s >= share), math.inf) for curve in curves]
        for share in shares
    }
    seconds_with_asking = [
        next(
            (
                at + step.ask_seconds
                for step, (at, share) in zip(trace.steps, curve, strict=True)
                if share >= COMPARED_SHARE
            ),
            math.inf,
        )
        for trace, curve in zip(traces, curves, strict=True)
    ]
    ask_seconds = [seconds for trace in traces for seconds in trace.ask_seconds]
    ask_ms = 1e3 * median(ask_seconds) if ask_seconds else 0.0
    return Result(searcher, seconds, seconds_with_asking, ask_ms, curves)


# ---------------------------------------------------------------------------------------- printing


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third; an infinite one stays infinite."""
    first, middle, third = np.quantile(values, [0.25, 0.5, 0.75], method="nearest")
    return float(first), float(middle), float(third)


def table(results: Sequence[Result], scorer: Scorer) -> Iterator[str]:
    """Simulated seconds, median and quartiles; share of the exhaustive cost; ratio to autotune."""
    total = scorer.exhaustive_seconds
    own = next((r for r in results if r.searcher == AUTOTUNE), None)
    yield (
        f"{scorer.landscape.name}: {len(scorer.trials)} strategies, {total:,.0f} s for all; "
        f"{len(scorer.best)} on the front; {len(results[0].curves)} seeds"
    )
    header = "".join(f"{f'seconds to {share:.0%}':>26}" for share in SHARES)
    header += f"{'at 95%: cost':>14}{'ratio':>8}{'with asking':>15}{'ratio':>8}{'ask ms':>9}"
    yield f"{'':26}{header}"
    for entry in results:
        cells = "".join(f"{_cell(entry.seconds.get(share)):>26}" for share in SHARES)
        seconds = _median(entry.seconds[COMPARED_SHARE])
        with_asking = _median(entry.seconds_with_asking)
        ratio = ratio_with_asking = math.nan
        if own is not None:
            ratio = seconds / _median(own.seconds[COMPARED_SHARE])
            ratio_with_asking = with_asking / _median(own.seconds_with_asking)
        yield (
            f"{entry.searcher:26}{cells}{_percent(seconds / total):>14}{_times(ratio):>8}"
            f"{_seconds(with_asking):>15}{_times(ratio_with_asking):>8}{entry.ask_ms:9.1f}"
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


def document(results: Sequence[Result], scorer: Scorer) -> dict[str, Any]:
    """All figures as plain data; ``null`` if a share was not reached."""
    return {
        "landscape": scorer.landscape.name,
        "strategies": len(scorer.trials),
        "exhaustive_seconds": scorer.exhaustive_seconds,
        "searchers": {
            entry.searcher: {
                "ask_ms": entry.ask_ms,
                "seconds_to_95_with_thinking": [_plain(v) for v in entry.seconds_with_asking],
                "seconds": {
                    f"{share:.0%}": [_plain(v) for v in values]
                    for share, values in entry.seconds.items()
                },
            }
            for entry in results
        },
    }


def _plain(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 2)


# ---------------------------------------------------------------------------------------- the plot

WIDTH, HEIGHT, LEFT, TOP = 760, 360, 60, 40
COLOURS = ("#0b6e4f", "#8d99ae", "#3a5ba0", "#c8553d", "#e0a030", "#7b4b94", "#444444", "#5fad56")
MIN_COST, MIN_SHARE = 0.002, 0.5


def plot(results: Sequence[Result], scorer: Scorer) -> str:
    """SVG of the median share of the hypervolume by the share of the exhaustive cost."""
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
    for index, (entry, colour) in enumerate(zip(results, COLOURS, strict=False)):
        middle = np.median([_sampled(c, costs, scorer) for c in entry.curves], axis=0)
        points = " ".join(
            f"{_x(cost):.1f},{_y(share):.1f}"
            for cost, share in zip(costs, middle, strict=True)
            if share >= MIN_SHARE
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" class="c"/>')
        y = TOP + 20 + 17 * index
        parts.append(f'<text x="{LEFT + WIDTH + 14}" y="{y}" fill="{colour}">'
                     f"{entry.searcher}</text>")  # fmt: skip
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


def _sampled(
    curve: Sequence[tuple[float, float]], costs: np.ndarray, scorer: Scorer
) -> list[float]:
    """The share reached at each cost."""
    reached, index, shares = 0.0, 0, []
    for cost in costs:
        while index < len(curve) and curve[index][0] <= cost * scorer.exhaustive_seconds:
            reached = curve[index][1]
            index += 1
        shares.append(reached)
    return shares


# ------------------------------------------------------------------------------------ command line


def main() -> None:
    options = parse_options()
    options.cache.mkdir(parents=True, exist_ok=True)
    scorer = Scorer(read(options.landscape), as_recorded=options.as_recorded)
    specs = {
        name: [
            RunSpec(options.landscape, name, seed, options.cache) for seed in range(options.seeds)
        ]
        for name in options.searchers
    }
    for name in options.fresh:
        for spec in specs.get(name, []):
            spec.path.unlink(missing_ok=True)
    run_all([spec for group in specs.values() for spec in group], options.jobs)
    results = [
        summarize(name, [load_trace(spec, scorer) for spec in group], scorer)
        for name, group in specs.items()
    ]
    if options.plot:
        options.plot.write_text(plot(results, scorer), encoding="utf-8")
    if options.json:
        print(json.dumps(document(results, scorer), indent=1))
    else:
        print("\n".join(table(results, scorer)))


def run_all(specs: Sequence[RunSpec], jobs: int) -> None:
    """Run all searches, ``jobs`` concurrently."""
    if jobs == 1:
        for spec in specs:
            run_search(spec)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        list(pool.map(run_search, specs))


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landscape", type=Path)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--searchers", nargs="+", default=DEFAULT, choices=[*VARIANTS, *PEERS])
    parser.add_argument("--cache", type=Path, default=Path("runs/compare_searchers"))
    parser.add_argument("--fresh", nargs="*", default=[], help="searchers to run again")
    parser.add_argument("--jobs", type=int, default=1, help="concurrent searches")
    parser.add_argument("--as-recorded", action="store_true",
                        help="score by each trial's own values, not by medians")  # fmt: skip
    parser.add_argument("--plot", type=Path, help="SVG to write")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
