"""What early stopping saves and costs, by replay of a tabular benchmark.

    python benchmarks/stopping.py benchmarks/landscapes/sst2.parquet --seeds 30

A search without early stopping and one with each rule try the same random strategies in the same
order, without reuse of results. Prints the training time saved, the hypervolume lost, and the
regret: the share of the stopped trials that would have been on the front of all tried strategies.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from replay import Scorer, SearchTrace, run_autotune

from autotune.analysis.front import pareto_optimal
from autotune.domain import Budget
from autotune.execution.replay.benchmark import read

RULES = ("optimistic", "asha")
UNREACHABLE_SHARE = 2.0
"""A target that no search reaches, so that every search uses its budget."""


def compare(scorer: Scorer, rule: str, trials: int, seed: int) -> dict[str, float]:
    """One search with the rule against the same search without."""
    unstopped, stopped = (
        run_autotune(
            scorer,
            "random",
            seed,
            sharing=False,
            stopping=stopping,
            target=UNREACHABLE_SHARE,
            budget=Budget(trials=trials),
        )
        for stopping in ("none", rule)
    )
    tried = [scorer.trials[step.strategy.key] for step in unstopped.steps]
    front = {trial.strategy.key for trial in pareto_optimal(scorer.study, tried)}
    stopped_keys = {step.strategy.key for step in stopped.stopped}
    return {
        "training_saved": 1 - _training_seconds(stopped) / _training_seconds(unstopped),
        "all_saved": 1 - stopped.seconds / unstopped.seconds,
        "hypervolume_lost": 1 - _final_share(scorer, stopped) / _final_share(scorer, unstopped),
        "stopped": len(stopped_keys),
        "stopped_of_front": len(stopped_keys & front),
        "front": len(front),
    }


def _training_seconds(trace: SearchTrace) -> float:
    return sum(step.training_seconds for step in [*trace.steps, *trace.stopped])


def _final_share(scorer: Scorer, trace: SearchTrace) -> float:
    return scorer.shares(trace.steps)[-1][1]


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians over seeds; regret over the trials of all seeds."""
    stopped = sum(row["stopped"] for row in rows)
    return {
        "training_saved": median(row["training_saved"] for row in rows),
        "all_saved": median(row["all_saved"] for row in rows),
        "hypervolume_lost": median(row["hypervolume_lost"] for row in rows),
        "hypervolume_lost_most": max(row["hypervolume_lost"] for row in rows),
        "stopped": median(row["stopped"] for row in rows),
        "regret": sum(row["stopped_of_front"] for row in rows) / max(stopped, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("landscape", type=Path)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=100, help="of each search")
    parser.add_argument("--rules", nargs="+", default=RULES, choices=RULES)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    scorer = Scorer(read(options.landscape))
    summaries = {
        rule: summary([compare(scorer, rule, options.trials, n) for n in range(options.seeds)])
        for rule in options.rules
    }
    if options.json:
        print(json.dumps(summaries, indent=1))
        return
    print(f"{scorer.landscape.name}: {options.trials} random trials, {options.seeds} seeds")
    print(f"{'':12}{'training saved':>16}{'of all time':>13}{'hypervolume lost (most)':>26}"
          f"{'stopped':>9}{'would have been on the front':>30}")  # fmt: skip
    for rule, row in summaries.items():
        lost = f"{row['hypervolume_lost']:.2%} ({row['hypervolume_lost_most']:.2%})"
        print(f"{rule:12}{row['training_saved']:16.1%}{row['all_saved']:13.1%}{lost:>26}"
              f"{row['stopped']:9.0f}{row['regret']:30.2%}")  # fmt: skip


if __name__ == "__main__":
    main()
