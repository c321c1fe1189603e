"""Adapters against fine-tuning all weights, on SST-2: speed, memory and accuracy.

Each adapter trains with a learning rate that suits it, on the same examples. The output is the
table of docs/levers/adapter.md::

    python benchmarks/adapters.py --examples 1000

The data is read from ``AUTOTUNE_DATA``, by default ``../shared/data``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
STUDY = "adapters"

STRATEGIES: tuple[dict[str, Any], ...] = (
    {"adapter": "none", "learning_rate": 2e-4},
    {"adapter": "lora", "learning_rate": 1e-3},
    {"adapter": "lora", "adapter_targets": "all", "learning_rate": 1e-3},
    {"adapter": "dora", "learning_rate": 1e-3},
    {"adapter": "ia3", "learning_rate": 4e-3},
)

METRICS = ("train_samples_per_second", "peak_memory_gib", "accuracy")


def study_file(options: argparse.Namespace) -> dict[str, Any]:
    """A study of the strategies above and nothing else."""
    data = Path(os.environ.get("AUTOTUNE_DATA", ROOT.parent / "shared/data")).resolve() / "sst2"
    return {
        "study": STUDY,
        "task": {
            "model": options.model,
            "dataset": {split: str(data / f"{split}.jsonl") for split in ("train", "validation")},
            "max_length": 64,
            "epochs": options.epochs,
            "train_samples": options.examples,
            "validation_samples": 872,
        },
        "objectives": [{"metric": "train_samples_per_second"}, {"metric": "accuracy"}],
        "space": {
            "adapter": ["none", "lora", "dora", "ia3"],
            "adapter_targets": ["attention", "all"],
            "learning_rate": [2e-4, 1e-3, 4e-3],
        },
        "start_with": [dict(strategy) for strategy in STRATEGIES],
        "budget": {"trials": len(STRATEGIES) + 1},
        "early_stopping": "none",
    }


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The trials of the study, as ``autotune trials --json`` lists them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapters.yaml"
        path.write_text(yaml.safe_dump(study_file(options)))
        storage = ["--storage", f"sqlite:///{folder}/studies.db"]
        environment = {**os.environ, "AUTOTUNE_RUNS": f"{folder}/runs"}
        command = [sys.executable, "-m", "autotune"]
        subprocess.run(
            [*command, "search", str(path), *storage], cwd=ROOT, env=environment, check=True
        )
        listing = subprocess.run(
            [*command, "trials", STUDY, *storage, "--json"],
            cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
    trials: list[dict[str, Any]] = json.loads(listing.stdout)
    return trials


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="builtin:minilm")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=1.0)
    print("| adapter | learning rate | samples/s | peak memory, GiB | accuracy |")
    print("|---|---|---|---|---|")
    for trial in run(parser.parse_args()):
        strategy, metrics = trial["strategy"], trial["metrics"]
        targets = ", all matrices" if strategy["adapter_targets"] == "all" else ""
        speed, memory, accuracy = (metrics[name] for name in METRICS)
        print(
            f"| {strategy['adapter']}{targets} | {strategy['learning_rate']:g} | {speed:.0f} | "
            f"{memory:.2f} | {accuracy:.1%} |"
        )


if __name__ == "__main__":
    main()
