"""Adapters against fine-tuning all weights, on SST-2: speed, memory and accuracy.

Each strategy trains on the same examples, with a learning rate that suits it. The output is a table
in Markdown::

    python benchmarks/adapters.py --data DATA/sst2 --folder adapters --examples 1000

``DATA/sst2`` has ``train.jsonl`` and ``validation.jsonl``. The study is kept in ``--folder``; an
interrupted run continues, and a finished one is only read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
STUDY = "adapters"

STRATEGIES: tuple[dict[str, Any], ...] = (
    {"adapter": "none", "learning_rate": 2e-4},
    {"adapter": "lora", "learning_rate": 1e-3},
    {"adapter": "lora", "adapter_targets": "all", "learning_rate": 1e-3},
    {"adapter": "adalora", "learning_rate": 1e-3},
    {"adapter": "dora", "learning_rate": 1e-3},
    {"adapter": "ia3", "learning_rate": 4e-3},
)

METRICS = ("train_samples_per_second", "peak_memory_gib", "accuracy")


def study_file(options: argparse.Namespace) -> dict[str, Any]:
    """A study of the strategies above and nothing else."""
    return {
        "study": STUDY,
        "task": {
            "model": options.model,
            "dataset": {
                split: str(options.data.resolve() / f"{split}.jsonl")
                for split in ("train", "validation")
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
        "start_with": [dict(strategy) for strategy in STRATEGIES],
        "budget": {"trials": len(STRATEGIES) + 1},
        "early_stopping": "none",
    }


def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The trials of the study, as ``autotune trials --json`` lists them."""
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "adapters.yaml"
    path.write_text(yaml.safe_dump(study_file(options)))
    storage = ["--storage", f"sqlite:///{folder}/studies.db"]
    environment = {**os.environ, "AUTOTUNE_RUNS": f"{folder}/runs"}
    command = [sys.executable, "-m", "autotune"]
    subprocess.run([*command, "search", str(path), *storage], cwd=ROOT, env=environment, check=True)
    listing = subprocess.run(
        [*command, "trials", STUDY, *storage, "--json"],
        cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    trials: list[dict[str, Any]] = json.loads(listing.stdout)
    return trials


def row(trial: dict[str, Any]) -> str:
    """A line of the table; a trial that did not complete has no figures."""
    strategy, metrics = trial["strategy"], trial["metrics"]
    targets = ", all matrices" if strategy["adapter_targets"] == "all" else ""
    speed, memory, accuracy = (metrics.get(name, {}).get("value") for name in METRICS)
    figures = [
        "-" if speed is None else f"{speed:.0f}",
        "-" if memory is None else f"{memory:.2f}",
        "-" if accuracy is None else f"{accuracy:.1%}",
    ]
    cells = [f"{strategy['adapter']}{targets}", f"{strategy['learning_rate']:g}", *figures]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of SST-2 as jsonl files")
    parser.add_argument("--folder", type=Path, default=Path("adapters"), help="keeps the study")
    parser.add_argument("--model", default="builtin:minilm")
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=1.0)
    options = parser.parse_args()
    trials = run(options)
    print("| adapter | learning rate | samples/s | peak memory, GiB | accuracy |")
    print("|---|---|---|---|---|")
    for trial in trials:
        print(row(trial))


if __name__ == "__main__":
    main()
