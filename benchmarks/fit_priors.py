"""Effects of levers on accuracy in recorded landscapes, beside the priors of the sampler.

    python benchmarks/fit_priors.py benchmarks/landscapes/*.parquet
    python benchmarks/fit_priors.py benchmarks/landscapes/*.parquet --leave-out minilm

An effect is the difference of the log-odds of accuracy between two training keys that differ in one
lever only. Pairs in which neither strategy learned anything are left out. The table gives the mean
of the landscapes' means and the standard deviation of single pairs. A learning rate has no prior of
its own, because its effect depends on the number of steps.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import mean, pstdev

from autotune.domain import Phase, State, Strategy, Value
from autotune.execution.replay.benchmark import TabularBenchmark, read
from autotune.levers import phase_levers
from autotune.levers.priors import ACCURACY_EFFECTS, Effect, expected_effect

MIN_GAIN = 0.05
"""A strategy has learned something if its accuracy is above the lowest one by this much."""

Setting = tuple[str, Value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landscapes", type=Path, nargs="+")
    parser.add_argument("--leave-out", nargs="*", default=[], help="names of landscapes")
    options = parser.parse_args()
    benchmarks = [read(p) for p in options.landscapes if p.stem not in options.leave_out]
    effects, pairs = fit_effects([dict(differences(b)) for b in benchmarks])
    print("lever                  setting        effect  deviation  pairs  prior")
    for (lever, value), effect in sorted(effects.items(), key=lambda item: str(item[0])):
        listed = ACCURACY_EFFECTS.get(lever)
        prior = "none" if listed is None else f"{expected_effect(listed, value):+.2f}"
        count = pairs[lever, value]
        print(
            f"{lever:22} {value!s:12} {effect.mean:+8.2f} {effect.deviation:10.2f} {count:6}"
            f" {prior:>6}"
        )


def fit_effects(
    landscapes: list[dict[Setting, list[float]]],
) -> tuple[dict[Setting, Effect], dict[Setting, int]]:
    """The effect of each setting, and the number of pairs behind it. Landscapes count alike."""
    by_setting: defaultdict[Setting, list[list[float]]] = defaultdict(list)
    for landscape in landscapes:
        for setting, values in landscape.items():
            by_setting[setting].append(values)
    effects = {
        setting: Effect(mean(map(mean, groups)), pstdev([v for group in groups for v in group]))
        for setting, groups in by_setting.items()
    }
    return effects, {setting: sum(map(len, groups)) for setting, groups in by_setting.items()}


def differences(benchmark: TabularBenchmark) -> Iterator[tuple[Setting, list[float]]]:
    """Differences of log-odds by setting, relative to the most frequent setting of its lever, of
    several the first."""
    scores = mean_accuracies(benchmark)
    floor = min(scores.values()) + MIN_GAIN
    for lever in (name for name in phase_levers(Phase.TRAIN) if name in benchmark.levers):
        counts = Counter(strategy[lever] for strategy in scores)
        reference = min(counts, key=lambda value: (-counts[value], _rank(value)))
        by_setting: defaultdict[Setting, list[float]] = defaultdict(list)
        for strategy, score in scores.items():
            other = scores.get(_with_setting(strategy, lever, reference))
            if strategy[lever] != reference and other is not None and max(score, other) > floor:
                by_setting[lever, strategy[lever]].append(log_odds(score) - log_odds(other))
        yield from by_setting.items()


def mean_accuracies(benchmark: TabularBenchmark) -> dict[Strategy, float]:
    """The mean accuracy by training key, as a strategy of the levers of accuracy alone."""
    values: defaultdict[Strategy, list[float]] = defaultdict(list)
    for record in benchmark.records:
        if record.state is State.COMPLETE and "accuracy" in record.measurements:
            levers = [name for name in phase_levers(Phase.TRAIN) if name in record.strategy.values]
            strategy = Strategy({name: record.strategy[name] for name in levers})
            values[strategy].append(record.measurements["accuracy"].value)
    return {strategy: mean(scores) for strategy, scores in values.items()}


def log_odds(share: float) -> float:
    share = min(max(share, 0.002), 0.998)
    return math.log(share / (1 - share))


def _with_setting(strategy: Strategy, lever: str, value: Value) -> Strategy:
    values: Mapping[str, Value] = {**strategy.values, lever: value}
    return Strategy(values)


def _rank(value: Value) -> tuple[bool, float, str]:
    """Numbers first, in order; then the defaults of Trainer among words, by name."""
    is_number = isinstance(value, int | float)
    return (
        not is_number,
        float(value) if is_number else 0.0,
        "" if value in DEFAULTS else str(value),
    )


DEFAULTS = ("fp32", "dynamic", "structured")

if __name__ == "__main__":
    main()
