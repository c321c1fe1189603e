"""What early stopping saves and what it costs, by replay of a recorded landscape.

    python benchmarks/stopping.py benchmarks/landscapes/sst2.parquet --seeds 30

The same strategies in the same order (drawn at random) are tried by a search that stops nothing and
by one for each rule; nothing is shared, so that stopping alone is seen. Printed are the training
seconds saved, the hypervolume lost, and the regret: how many of the stopped trials would have been
on the front of all that were tried.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from replaying import Judge, Walk, ours

from autotune.analysis.front import undominated
from autotune.domain import Budget
from autotune.execution.replay.benchmark import read

RULES = ("optimistic", "asha")
EVERYTHING = 2.0
"""A share of the hypervolume that no search reaches, so that none ends before its budget."""


def compared(judge: Judge, rule: str, trials: int, seed: int) -> dict[str, float]:
    """One search with the rule against the same without."""
    whole, ruled = (
        ours(judge, "random", seed, sharing=False, stopping=stopping, enough=EVERYTHING,
             budget=Budget(trials=trials))
        for stopping in ("none", rule)
    )  # fmt: skip
    tried = [judge.trials[step.strategy.key] for step in whole.steps]
    front = {trial.strategy.key for trial in undominated(judge.study, tried)}
    stopped = {step.strategy.key for step in ruled.stopped}
    return {
        "training_saved": 1 - _trained(ruled) / _trained(whole),
        "all_saved": 1 - ruled.seconds / whole.seconds,
        "hypervolume_lost": 1 - _volume(judge, ruled) / _volume(judge, whole),
        "stopped": len(stopped),
        "stopped_of_front": len(stopped & front),
        "front": len(front),
    }


def _trained(walk: Walk) -> float:
    return sum(step.trained for step in [*walk.steps, *walk.stopped])


def _volume(judge: Judge, walk: Walk) -> float:
    return judge.reached(walk.steps)[-1][1]


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians over seeds; regret is counted over all of them."""
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
    judge = Judge(read(options.landscape))
    found = {
        rule: summary([compared(judge, rule, options.trials, n) for n in range(options.seeds)])
        for rule in options.rules
    }
    if options.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{judge.landscape.name}: {options.trials} random trials, {options.seeds} seeds")
    print(f"{'':12}{'training saved':>16}{'of all time':>13}{'hypervolume lost (most)':>26}"
          f"{'stopped':>9}{'would have been on the front':>30}")  # fmt: skip
    for rule, row in found.items():
        lost = f"{row['hypervolume_lost']:.2%} ({row['hypervolume_lost_most']:.2%})"
        print(f"{rule:12}{row['training_saved']:16.1%}{row['all_saved']:13.1%}{lost:>26}"
              f"{row['stopped']:9.0f}{row['regret']:30.2%}")  # fmt: skip


if __name__ == "__main__":
    main()
