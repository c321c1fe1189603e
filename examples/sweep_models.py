"""Compare models on the same data, each with the settings that suit it.

    python examples/sweep_models.py
    python examples/sweep_models.py --models bert-base-uncased DIR --data train.jsonl --trials 40

One search tries all models together with batch size and learning rate, so that a model that is
clearly worse gets few trials. The script prints the best trial of each model, and which to use.
"""

from __future__ import annotations

import argparse
from typing import Any

import autotune

COLUMNS = ["model", "accuracy", "train_samples_per_second", "batch_size", "learning_rate"]


def make_study(models: list[str], data: str | None, samples: int, trials: int) -> autotune.Study:
    """A study of all models. The first is the one of the baseline."""
    task: dict[str, Any] = {"model": models[0], "train_samples": samples}
    if data is not None:
        task["dataset"] = {"train": data}
    return autotune.Study(
        "models",
        task=task,
        objectives=["accuracy", "train_samples_per_second"],
        space={
            "model": models,
            "batch_size": [8, 16, 32],
            "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
        },
        budget={"trials": trials},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare models on the same data")
    default = ["builtin:minilm", "builtin:bert-tiny"]
    parser.add_argument("--models", nargs="+", default=default, help="names of the hub, or folders")
    parser.add_argument("--data", help="file with the columns text and label; default: built in")
    parser.add_argument("--samples", type=int, default=400, help="examples to train on")
    parser.add_argument("--trials", type=int, default=10)
    options = parser.parse_args()
    study = make_study(options.models, options.data, options.samples, options.trials)
    result = autotune.search(study, storage="sqlite:///models.db")
    table = result.table.replace({"model": {"task": options.models[0]}})
    best = table.sort_values("accuracy", ascending=False).groupby("model").head(1)
    print(best[COLUMNS].to_string())
    print(result.summary)


if __name__ == "__main__":
    main()
