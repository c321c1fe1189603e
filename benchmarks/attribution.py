"""How often the intervals of the contributions of levers hold, on recorded landscapes.

Every strategy of a landscape was run, so the true contribution of each lever is known up to the
noise of the recordings: the mean over all orders of the path between two strategies. The most
accurate of some random trials is compared with another one, which stands for the default. Prints
one JSON document: for each landscape, metric and number of trials, the share of the true
contributions in their 95% intervals, and the median error and half width, of factors as logarithms.

    python benchmarks/attribution.py [--repeats 20] [--trials 12 25 50] [LANDSCAPE ...]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from replay import Scorer

from autotune.analysis.attribution import attribute
from autotune.analysis.metric_posterior import Comparison
from autotune.domain import State, Strategy, Study, Trial, TrialOrigin, TrialResult
from autotune.execution.replay import benchmark

LANDSCAPES = Path(__file__).with_name("landscapes")
METRICS = ("train_samples_per_second", "accuracy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landscapes", nargs="*", default=["trec", "minilm"])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--trials", type=int, nargs="*", default=[12, 25, 50])
    options = parser.parse_args()
    rows = []
    for name in options.landscapes:
        scorer = Scorer(benchmark.read(LANDSCAPES / f"{name}.parquet"))
        for count in options.trials:
            rng = np.random.default_rng(0)
            checks = [c for _ in range(options.repeats) for c in _checks(scorer, count, rng)]
            for metric in METRICS:
                own = [check for check in checks if check[0] == metric]
                rows.append({"landscape": name, "metric": metric, "trials": count, **_summary(own)})
    print(json.dumps(rows, indent=1))


Check = tuple[str, float, float, float, float]
"""Metric, true contribution, estimate, and the ends of its interval; of factors as logarithms."""


def _summary(checks: Sequence[Check]) -> dict[str, float]:
    inside = [low <= truth <= high for _, truth, _, low, high in checks]
    return {
        "contributions": len(checks),
        "inside": round(statistics.fmean(inside), 3),
        "median_error": round(statistics.median(abs(m - t) for _, t, m, _, _ in checks), 4),
        "median_half_width": round(statistics.median((h - w) / 2 for *_, w, h in checks), 4),
    }


def _checks(scorer: Scorer, count: int, rng: np.random.Generator) -> Iterator[Check]:
    """The contributions of the levers of the most accurate of ``count`` random trials."""
    records = [
        r
        for r in scorer.landscape.records
        if r.state is State.COMPLETE and r.seed == scorer.study.task.seed
    ]
    drawn = [records[i] for i in rng.choice(len(records), count, replace=False)]
    trials = [
        Trial(n, State.COMPLETE, Strategy({**scorer.study.space.defaults, **r.strategy.values}),
              origin=TrialOrigin.SAMPLED, result=TrialResult(dict(r.measurements)))
        for n, r in enumerate(drawn)
    ]  # fmt: skip
    default = replace(trials[0], origin=TrialOrigin.DEFAULT)
    space = replace(scorer.study.space, defaults=dict(default.strategy.values))
    study: Study = replace(scorer.study, space=space, constraints=())
    best = max(trials[1:], key=lambda trial: trial.metric("accuracy") or 0.0)
    path = attribute(study, [default, *trials[1:]], best)
    if path is None:
        return
    levers = [lever for step in path.steps for lever in step.settings]
    for metric in METRICS:
        truth = _shapley(scorer, default.strategy, best.strategy, levers, metric)
        for step in path.steps:
            contribution = step.contributions.get(metric)
            if truth and contribution is not None:
                yield metric, sum(truth[lever] for lever in step.settings), *_ends(contribution)


def _ends(contribution: Comparison) -> tuple[float, float, float]:
    ends = (contribution.value, *contribution.ci95)
    value, low, high = map(math.log, ends) if contribution.is_ratio else ends
    return value, low, high


def _shapley(
    scorer: Scorer, base: Strategy, target: Strategy, levers: Sequence[str], metric: str
) -> Mapping[str, float]:
    """The true contributions, from the recordings of all strategies between the two; empty if one
    is missing."""
    values = {}
    for size in range(len(levers) + 1):
        for changed in map(frozenset, combinations(levers, size)):
            strategy = Strategy({**base.values, **{lever: target[lever] for lever in changed}})
            trial = scorer.trials.get(strategy.key)
            if trial is None:
                return {}
            value = float(trial.metric(metric) or 0.0)
            values[changed] = value if metric == "accuracy" else math.log(value)
    count = len(levers)
    return {
        lever: sum(
            (values[changed | {lever}] - values[changed])
            / (count * math.comb(count - 1, len(changed)))
            for changed in values
            if lever not in changed
        )
        for lever in levers
    }


if __name__ == "__main__":
    main()
