"""How often early stopping is right about a constraint, by replay of recorded learning curves.

    python benchmarks/rung_forecasts.py benchmarks/landscapes/*.parquet

Searches of random strategies with a bound on accuracy that a given share of all strategies keeps.
At each rung a trial is stopped if its forecast says so. Prints the share of the trials below and
above the bound that are stopped, and how often the bound is kept by forecast probability.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autotune.domain import Constraint, State
from autotune.execution.replay.benchmark import Record, read
from autotune.tuner.early_stopping import MIN_CONSTRAINT_PROBABILITY
from autotune.tuner.learning_curves import RUNG_TOLERANCE
from autotune.tuner.score_forecast import forecast_score

METRIC = "accuracy"
RUNGS = (0.25, 0.5)
SHARES_KEPT = (0.4, 0.2, 0.05)
BINS = 5


def replay(
    records: Sequence[Record], bound: float, trials: int, seed: int
) -> tuple[Counter[tuple[bool, bool]], list[tuple[float, bool]]]:
    """Counts of trials by (keeps the bound, is stopped), and (probability, keeps the bound) of each
    forecast, of one search."""
    constraint = Constraint(METRIC, ">=", bound)
    counts: Counter[tuple[bool, bool]] = Counter()
    forecasts: list[tuple[float, bool]] = []
    finished: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for index in np.random.default_rng(seed).permutation(len(records))[:trials]:
        final = records[index].measurements[METRIC].value
        at_rungs = [(rung, _score_at(records[index], rung)) for rung in RUNGS]
        scores = {rung: score for rung, score in at_rungs if score is not None}
        is_stopped = False
        for rung, score in scores.items():
            forecast = forecast_score(METRIC, score, rung, finished[rung])
            if forecast is not None and not is_stopped:
                probability = forecast.probability(constraint, bound)
                forecasts.append((probability, final >= bound))
                is_stopped = probability < MIN_CONSTRAINT_PROBABILITY
        counts[final >= bound, is_stopped] += 1
        if not is_stopped:
            for rung, score in scores.items():
                finished[rung].append((score, final))
    return counts, forecasts


def _score_at(record: Record, rung: float) -> float | None:
    """The score at the rung; ``None`` where a short run has its rung elsewhere."""
    for point in record.curve:
        if METRIC in point.metrics and abs(point.step / point.total_steps - rung) <= RUNG_TOLERANCE:
            return point.metrics[METRIC]
    return None


def describe(records: Sequence[Record], kept: float, trials: int, seeds: int) -> str:
    """One line of the table: a bound that the share ``kept`` of all strategies keeps."""
    accuracies = [record.measurements[METRIC].value for record in records]
    bound = float(np.quantile(accuracies, 1 - kept))
    counts: Counter[tuple[bool, bool]] = Counter()
    forecasts: list[tuple[float, bool]] = []
    for seed in range(seeds):
        searched, probabilities = replay(records, bound, trials, seed)
        counts += searched
        forecasts += probabilities
    below, above = (_stopped(counts, keeps=keeps) for keeps in (False, True))
    bins = defaultdict(list)
    for probability, keeps in forecasts:
        bins[min(int(probability * BINS), BINS - 1)].append(keeps)
    calibration = "".join(
        f"{np.mean(bins[n]):8.0%}" if bins[n] else f"{'-':>8}" for n in range(BINS)
    )
    return f"{bound:8.3f}{below:>16}{above:>16}{calibration}"


def _stopped(counts: Counter[tuple[bool, bool]], *, keeps: bool) -> str:
    total = counts[keeps, True] + counts[keeps, False]
    return f"{counts[keeps, True] / total:.1%}" if total else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landscapes", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--trials", type=int, default=30, help="of each search")
    options = parser.parse_args()
    for path in options.landscapes:
        landscape = read(path)
        seed = landscape.records[0].seed
        records = [r for r in landscape.records if r.state is State.COMPLETE and r.seed == seed]
        print(f"{landscape.name}: {options.seeds} searches of {options.trials} strategies")
        print(
            f"{'bound':>8}{'stopped below':>16}{'stopped above':>16}   kept by probability, fifths"
        )
        for kept in SHARES_KEPT:
            print(describe(records, kept, options.trials, options.seeds))


if __name__ == "__main__":
    main()
