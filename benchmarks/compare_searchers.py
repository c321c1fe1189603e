"""autotune against other search libraries on tabular benchmarks: simulated seconds until a search
has reached 90, 95 and 99% of the hypervolume of all strategies, and, on a landscape with a
constraint, 80, 90 and 95% of the best speed among the strategies that satisfy it.

    pip install -e '.[benchmarks]'        # BoTorch, Syne Tune and Ax
    python benchmarks/compare_searchers.py benchmarks/landscapes/sst2.parquet --seeds 30
    python benchmarks/compare_searchers.py --markdown      # the table of docs/search.md

Every searcher starts after the default configuration was measured, pays the time of its trials
(until the stop, if stopped early), and never pays twice for a strategy. autotune runs in full:
tuner, store, sampler, cached results and early stopping. Traces are kept in ``--cache``, so that an
aborted run can continue; ``--fresh NAME`` discards those of a searcher. Some peers need seconds per
proposal and have fewer seeds (``MAX_SEEDS``).
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
from searcher_plot import Curve, plot

from autotune.execution.replay.benchmark import read

LANDSCAPES = Path(__file__).parent / "landscapes"

SHARES = (0.90, 0.95, 0.99)
SPEED_SHARES = (0.80, 0.90, 0.95)
"""Shares of the hypervolume, and of the best feasible speed."""

COMPARED_SHARE = 0.95
"""The share at which searchers are compared."""

AUTOTUNE = "autotune"

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    AUTOTUNE: {"sampler": "factored"},
    "autotune, nothing stopped": {"sampler": "factored", "stopping": "none"},
    "autotune, nothing shared": {"sampler": "factored", "sharing": False, "stopping": "none"},
    "autotune, sampler tpe": {"sampler": "tpe"},
    "autotune, sampler random": {"sampler": "random"},
    "autotune, sampler qmc": {"sampler": "qmc"},
}
"""autotune, and without each of its parts (select with ``--searchers``)."""

DEFAULT = (AUTOTUNE, *PEERS)

MAX_SEEDS = {"Ax": 3, "Syne Tune MO-ASHA": 3}
MAX_PROPOSALS = {
    "Ax": 80, "Optuna GP": 150, "Optuna TPE": 432, "Optuna NSGA-II": 432, "Syne Tune MO-ASHA": 432,
}  # fmt: skip
TARGETS = {"Ax": 0.95}
"""Limits of searchers that need minutes of real time: Ax and Optuna's Gaussian process for their
proposals, MO-ASHA for sorting its stopped trials, the others for repeating themselves. Ax also ends
at 95%."""


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
    """Simulated seconds by share of the hypervolume, and by share of the best feasible speed, one
    per seed, infinite if it was not reached. ``seconds_with_asking`` are those to 95% of the
    hypervolume including the CPU time of proposals."""

    searcher: str
    seconds: Mapping[float, Sequence[float]]
    speed_seconds: Mapping[float, Sequence[float]]
    seconds_with_asking: Sequence[float]
    ask_ms: float
    curves: Sequence[Curve]


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
    """A trace from the cache, without the strategies that the landscape has no record of."""
    document = json.loads(spec.path.read_text(encoding="utf-8"))
    steps, stopped = (
        [
            TraceStep(seconds, scorer.trials[key].strategy, ask_seconds)
            for seconds, key, ask_seconds in document[name]
            if key in scorer.trials
        ]
        for name in ("steps", "stopped")
    )
    return SearchTrace(steps, document["seconds"], document["asked"], stopped)


def summarize(searcher: str, traces: Sequence[SearchTrace], scorer: Scorer) -> Result:
    curves = [scorer.shares(trace.steps) for trace in traces]
    shares = [share for share in SHARES if share <= TARGETS.get(searcher, 1.0)]
    seconds = {share: [_seconds_to(share, curve) for curve in curves] for share in shares}
    speed_curves = [scorer.speed_shares(trace.steps) for trace in traces]
    speed_seconds = {
        share: [_seconds_to(share, curve) for curve in speed_curves] for share in SPEED_SHARES
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
    return Result(searcher, seconds, speed_seconds, seconds_with_asking, ask_ms, curves)


def _seconds_to(share: float, curve: Curve) -> float:
    return next((seconds for seconds, s in curve if s >= share), math.inf)


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
    if scorer.is_constrained:
        yield from speed_table(results, scorer)


def speed_table(results: Sequence[Result], scorer: Scorer) -> Iterator[str]:
    """The share of the exhaustive time until the shares of the best feasible speed were reached:
    the median, and how many seeds reached it at all."""
    constraints = ", ".join(map(str, scorer.study.constraints))
    yield f"best of the {len(scorer.speeds)} strategies with {constraints}:"
    yield f"{'':26}" + "".join(f"{f'cost to {share:.0%}':>26}" for share in SPEED_SHARES)
    for entry in results:
        cells = (_cost_cell(entry.speed_seconds[share], scorer) for share in SPEED_SHARES)
        yield f"{entry.searcher:26}" + "".join(f"{cell:>26}" for cell in cells)


def _cost_cell(seconds: Sequence[float], scorer: Scorer) -> str:
    reached = sum(math.isfinite(value) for value in seconds)
    cost = _percent(_median(seconds) / scorer.exhaustive_seconds)
    return f"{cost} ({reached} of {len(seconds)})"


def compared_seconds(entry: Result, scorer: Scorer) -> Sequence[float]:
    """Seconds to the compared share: of the best feasible speed with a constraint, else of the
    hypervolume."""
    by_share = entry.speed_seconds if scorer.is_constrained else entry.seconds
    return by_share[COMPARED_SHARE]


def markdown(comparisons: Sequence[tuple[Scorer, Sequence[Result]]]) -> Iterator[str]:
    """The table of docs/search.md: a row for each searcher, a column for each landscape."""
    names = [scorer.landscape.name for scorer, _ in comparisons]
    yield "| | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    searchers = dict.fromkeys(entry.searcher for _, results in comparisons for entry in results)
    for searcher in searchers:
        cells = [
            next((_cost_cell(compared_seconds(entry, scorer), scorer)
                  for entry in results if entry.searcher == searcher), "not run")
            for scorer, results in comparisons
        ]  # fmt: skip
        yield f"| {searcher} | " + " | ".join(cells) + " |"


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
                "seconds_to_best_feasible_speed": {
                    f"{share:.0%}": [_plain(v) for v in values]
                    for share, values in entry.speed_seconds.items()
                },
            }
            for entry in results
        },
    }


def _plain(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 2)


# ------------------------------------------------------------------------------------ command line


def main() -> None:
    options = parse_options()
    options.cache.mkdir(parents=True, exist_ok=True)
    comparisons = [compare(landscape, options) for landscape in options.landscapes]
    if options.plot:
        scorer, results = comparisons[0]
        curves = {entry.searcher: entry.curves for entry in results}
        options.plot.write_text(plot(curves, scorer), encoding="utf-8")
    if options.json:
        documents = [document(results, scorer) for scorer, results in comparisons]
        print(json.dumps(documents[0] if len(documents) == 1 else documents, indent=1))
    elif options.markdown:
        print("\n".join(markdown(comparisons)))
    else:
        print("\n".join(line for scorer, results in comparisons for line in table(results, scorer)))


def compare(landscape: Path, options: argparse.Namespace) -> tuple[Scorer, list[Result]]:
    """Run the searchers on one landscape."""
    scorer = Scorer(read(landscape), as_recorded=options.as_recorded)
    specs = {
        name: [
            RunSpec(landscape, name, seed, options.cache)
            for seed in range(min(options.seeds, MAX_SEEDS.get(name, options.seeds)))
        ]
        for name in options.searchers
    }
    for name in options.fresh:
        for spec in specs.get(name, []):
            spec.path.unlink(missing_ok=True)
    run_all([spec for group in specs.values() for spec in group], options.jobs)
    return scorer, [
        summarize(name, [load_trace(spec, scorer) for spec in group], scorer)
        for name, group in specs.items()
    ]


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
    parser.add_argument("landscapes", type=Path, nargs="*",
                        default=sorted(LANDSCAPES.glob("*.parquet")))  # fmt: skip
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--searchers", nargs="+", default=DEFAULT, choices=[*VARIANTS, *PEERS])
    parser.add_argument("--cache", type=Path, default=Path("runs/compare_searchers"))
    parser.add_argument("--fresh", nargs="*", default=[], help="searchers to run again")
    parser.add_argument("--jobs", type=int, default=1, help="concurrent searches")
    parser.add_argument("--as-recorded", action="store_true",
                        help="score by each trial's own values, not by medians")  # fmt: skip
    parser.add_argument("--plot", type=Path, help="SVG to write, of the first landscape")
    parser.add_argument("--markdown", action="store_true", help="one table of all landscapes")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
