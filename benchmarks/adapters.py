"""Adapters against fine-tuning all weights, on SST-2: speed, memory and accuracy.

Each strategy trains on the same examples, with a learning rate that suits it, and again with
``--seeds`` other seeds, whose models are evaluated on the test split. The output is a table in
Markdown: each strategy relative to fine-tuning all weights, paired by seed, with 95% intervals::

    python benchmarks/adapters.py --data DATA/sst2 --folder adapters --examples 1000

``DATA/sst2`` has ``train.jsonl``, ``validation.jsonl`` and ``test.jsonl``. The study is kept in
``--folder``; an interrupted run continues, and a finished one is only read.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from autotune.analysis.paired import PairedRuns
from autotune.analysis.paired_text import describe_difference, describe_ratio
from autotune.domain import State, Trial, TrialOrigin
from autotune.store import open_store

ROOT = Path(__file__).parents[1]
STUDY = "adapters"

STRATEGIES: tuple[dict[str, Any], ...] = (
    {"adapter": "lora", "learning_rate": 1e-3},
    {"adapter": "lora", "adapter_targets": "all", "learning_rate": 1e-3},
    {"adapter": "adalora", "learning_rate": 1e-3},
    {"adapter": "dora", "learning_rate": 1e-3},
    {"adapter": "ia3", "learning_rate": 4e-3},
)

BASELINE = {"learning_rate": 2e-4}
"""All weights are fine-tuned."""

RATIOS = ("train_samples_per_second", "peak_memory_gib")


def study_file(options: argparse.Namespace) -> dict[str, Any]:
    """A study of the strategies above and nothing else."""
    return {
        "study": STUDY,
        "task": {
            "model": options.model,
            "dataset": {
                split: str(options.data.resolve() / f"{split}.jsonl")
                for split in ("train", "validation", "test")
            },
            "max_length": 64,
            "epochs": options.epochs,
            "train_samples": options.examples,
            "validation_samples": 872,
        },
        "objectives": [{"metric": "train_samples_per_second"}, {"metric": "accuracy"}],
        "space": {
            "adapter": ["none", "lora", "adalora", "dora", "ia3"],
            "adapter_targets": ["attention", "all"],
            "learning_rate": [2e-4, 1e-3, 4e-3],
        },
        "baseline": BASELINE,
        "start_with": [dict(strategy) for strategy in STRATEGIES],
        "budget": {"trials": len(STRATEGIES) + 1},
        "early_stopping": "none",
    }


def run(options: argparse.Namespace) -> Sequence[Trial]:
    """The trials of the study: each strategy, then each with other seeds."""
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path, url = folder / "adapters.yaml", f"sqlite:///{folder}/studies.db"
    path.write_text(yaml.safe_dump(study_file(options)), encoding="utf-8")
    command = [sys.executable, "-m", "autotune", "search", str(path), "--storage", url]
    environment = {**os.environ, "AUTOTUNE_RUNS": f"{folder}/runs"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    budget = f"budget={{trials: {enqueue(url, options.seeds)}}}"
    subprocess.run([*command, "--set", budget], cwd=ROOT, env=environment, check=True)
    store = open_store(url, read_only=True)
    trials = store.trials(STUDY)
    store.close()
    return trials


def enqueue(url: str, seeds: int) -> int:
    """Queue the runs with other seeds that are not stored yet; return the number of all trials.

    All strategies run with a seed before the next one, so that they are compared close in time.
    """
    store = open_store(url)
    trials = store.trials(STUDY)
    stored = {(t.strategy.key, t.seed) for t in trials if t.is_confirmation and t.is_informative}
    for number in range(1, seeds + 1):
        for trial in results(trials):
            seed = trial.seed + number
            if (trial.strategy.key, seed) not in stored:
                store.enqueue(STUDY, trial.strategy, origin=TrialOrigin.CONFIRMATION, seed=seed)
    count = len(store.trials(STUDY))
    store.close()
    return count


def results(trials: Sequence[Trial]) -> list[Trial]:
    """The complete trials of the strategies, the default first."""
    return [trial for trial in trials if trial.is_result and trial.state is State.COMPLETE]


def row(trial: Trial, default: Trial, pairs: PairedRuns) -> str:
    """A line of the table; a strategy that was not confirmed has no figures."""
    targets = ", all matrices" if trial.strategy["adapter_targets"] == "all" else ""
    ratios = [pairs.ratio(trial, default, metric) for metric in RATIOS]
    difference = pairs.score_difference(trial, default)
    cells = [
        f"{trial.strategy['adapter']}{targets}",
        f"{trial.strategy['learning_rate']:g}",
        *("-" if ratio is None else describe_ratio(ratio) for ratio in ratios),
        "-" if difference is None else describe_difference(difference),
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of SST-2 as jsonl files")
    parser.add_argument("--folder", type=Path, default=Path("adapters"), help="keeps the study")
    parser.add_argument("--model", default="builtin:minilm")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    trials = run(options)
    default, *others = results(trials)
    pairs = PairedRuns(trials)
    print("| adapter | learning rate | training speed | peak memory | accuracy |")
    print("|---|---|---|---|---|")
    for trial in others:
        print(row(trial, default, pairs))


if __name__ == "__main__":
    main()
