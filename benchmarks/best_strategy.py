"""The best strategy of a search against ``Trainer``'s defaults, on a split the search did not use.

    python benchmarks/best_strategy.py --data DIR     # DIR/{train,validation,test}.jsonl, as SST-2

A search runs first (on a part of the training split, with validation accuracy within one point of
the default's), unless ``--strategy FILE`` contains its result. Then, alternating over seeds, the
strategy and ``Trainer`` with its defaults fine-tune on the full training split in new processes and
are evaluated on the test split. The output is the ratios of training and inference speed and the
accuracies.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

MAX_LENGTH = 64
WARMUP_STEPS = 5

STUDY = """\
study: best
task:
  model: {model}
  dataset: {{train: {data}/train.jsonl, validation: {data}/validation.jsonl}}
  max_length: {length}
  train_samples: {examples}
objectives:
  - {{metric: train_samples_per_second}}
  - {{metric: accuracy}}
  - {{metric: inference_samples_per_second}}
constraints:
  - accuracy >= baseline - 0.01
space:
  device: {device}
  threads: auto
  allocator: auto
  batch_size: [8, 16, 32]
  padding: [dynamic, bucketed]
  precision: auto
  pruning_ratio: [0.0, 0.25, 0.5]
  freeze_layers: [0, 1]
  learning_rate: {{low: 3e-5, high: 5e-4, log: true}}
budget: {{trials: {trials}, minutes: {minutes}}}
"""


def search(data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The strategy that trains fastest at the default's accuracy on validation."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.yaml"
        path.write_text(
            STUDY.format(
                model=options.model,
                data=data,
                device=options.device,
                length=MAX_LENGTH,
                examples=options.examples,
                trials=options.trials,
                minutes=options.minutes,
            )
        )
        autotune = [sys.executable, "-m", "autotune"]
        subprocess.run([*autotune, "search", str(path)], cwd=folder, check=True, stdout=sys.stderr)
        printed = subprocess.run(
            [*autotune, "pareto", "best", "--json"], cwd=folder, check=True, capture_output=True
        )
    front = json.loads(printed.stdout)["front"]
    best = max(front, key=lambda trial: trial["metrics"]["train_samples_per_second"]["value"])
    return dict(best["strategy"])


def fine_tune_with_autotune(
    data: str,
    model: str,
    train: int | None,
    device: str,
    strategy: Mapping[str, Any],
    seed: int,
    test: str,
) -> dict[str, float]:
    """One full trial, evaluated on the test split."""
    from autotune.domain import Job, Limits, Strategy, Task
    from autotune.hardware import inventory
    from autotune.levers import defaults, required_resources
    from autotune.trial.effects import allocator
    from autotune.trial.run import run_trial

    full_strategy = Strategy({**defaults(inventory()), "device": device, **strategy})
    allocator.apply(str(full_strategy["allocator"]))
    task = Task(
        model=model,
        dataset={"train": f"{data}/train.jsonl", "validation": test},
        max_length=MAX_LENGTH,
        seed=seed,
        train_samples=train,
    )
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            "best",
            seed,
            full_strategy,
            task,
            seed,
            required_resources(full_strategy),
            Limits(),
            folder,
        )
        outcome = run_trial(job, lambda point: None)
    measured = {name: m.value for name, m in outcome.result.measurements.items()}
    return {
        "train": measured["train_samples_per_second"],
        "accuracy": measured["accuracy"],
        "inference": measured["inference_samples_per_second"],
    }


def _rows(prepared: Any, name: str) -> list[dict[str, Any]]:
    """The samples of a split of a prepared task as ``Trainer`` takes them."""
    from autotune.trial.data.datasets import load_split

    split = load_split(prepared, name)
    bounds = zip(split.offsets[:-1], split.offsets[1:], split.labels, strict=True)
    return [{"input_ids": split.tokens[a:b].tolist(), "labels": int(y)} for a, b, y in bounds]


def fine_tune_with_trainer(
    data: str, model: str, train: int | None, device: str, seed: int, test: str
) -> dict[str, float]:
    """``Trainer`` with defaults except for the number of epochs, evaluated on the test split."""
    import numpy as np
    import torch
    from transformers import (
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from autotune.domain import Task
    from autotune.measure.clock import synchronise
    from autotune.trial.data.datasets import prepare_task
    from autotune.trial.models import load_model

    dataset = {"train": f"{data}/train.jsonl", "validation": test}
    task = Task(model=model, max_length=MAX_LENGTH, seed=seed, train_samples=train, dataset=dataset)
    prepared = prepare_task(task)
    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, arguments: Any, state: Any, *_: Any, **__: Any) -> None:
            if state.global_step in (WARMUP_STEPS, state.max_steps):
                synchronise(torch.device(device))
            ends.append(time.perf_counter())

    train_rows, test_rows = _rows(prepared, "train"), _rows(prepared, "validation")
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, num_train_epochs=1, use_cpu=device == "cpu", report_to=[], save_strategy="no",
            disable_tqdm=True, seed=seed,
        )  # fmt: skip
        if arguments.n_gpu > 1:
            arguments._n_gpu = 1  # no DataParallel: the strategy trains on one GPU
        collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(prepared.model_dir))
        trainer = Trainer(
            load_model(prepared, seed=seed),
            arguments,
            train_dataset=train_rows,
            data_collator=collate,
            callbacks=[Clock()],
        )
        trainer.train()
        start = time.perf_counter()
        predictions = trainer.predict(test_rows)
        seconds = time.perf_counter() - start
    steps = len(ends) - WARMUP_STEPS
    num_samples = steps * arguments.per_device_train_batch_size
    return {
        "train": num_samples / (ends[-1] - ends[WARMUP_STEPS - 1]),
        "inference": len(test_rows) / seconds,
        "accuracy": float(np.mean(predictions.predictions.argmax(-1) == predictions.label_ids)),
    }


def run_in_new_process(
    function: Callable[..., dict[str, float]], *arguments: Any
) -> dict[str, float]:
    """Call ``function`` in a new process, so that runs do not affect each other."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description="The best strategy found against Trainer")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="builtin:minilm")
    parser.add_argument("--examples", type=int, default=1500, help="of training, in the search")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--train", type=int, help="examples of the final runs; all if not given")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument(
        "--strategy",
        type=Path,
        help="JSON of a strategy, or of `autotune show STUDY knee --json`; no search then",
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    data = options.data.resolve()
    if options.strategy is not None:
        document = json.loads(options.strategy.read_text())
        strategy = document.get("strategy", document)
    else:
        strategy = search(data, options)
    test = str(data / "test.jsonl")
    runs: dict[str, list[dict[str, float]]] = {"autotune": [], "trainer": []}
    for seed in range(options.seeds):
        runs["autotune"].append(
            run_in_new_process(
                fine_tune_with_autotune,
                str(data),
                options.model,
                options.train,
                options.device,
                strategy,
                seed,
                test,
            )
        )
        runs["trainer"].append(
            run_in_new_process(
                fine_tune_with_trainer,
                str(data),
                options.model,
                options.train,
                options.device,
                seed,
                test,
            )
        )
    print_result(strategy, runs, as_json=options.json)


def compare(runs: Mapping[str, list[dict[str, float]]]) -> dict[str, Any]:
    """The ratios of the speeds and the difference of the accuracies in points: mean over the seeds
    and 95% interval, paired by seed."""
    from autotune.measure.statistics import mean

    pairs = list(zip(runs["autotune"], runs["trainer"], strict=True))
    return {
        "train_ratio": mean([a["train"] / b["train"] for a, b in pairs]),
        "inference_ratio": mean([a["inference"] / b["inference"] for a, b in pairs]),
        "accuracy_points": mean([100 * (a["accuracy"] - b["accuracy"]) for a, b in pairs]),
    }


def print_result(
    strategy: Mapping[str, Any], runs: Mapping[str, list[dict[str, float]]], *, as_json: bool
) -> None:
    """Print the ratios of the speeds and the difference of the accuracies."""
    result = compare(runs)
    if as_json:
        print(json.dumps({"strategy": strategy, "runs": runs, **result}, indent=1))
        return
    print(f"strategy: {strategy}")
    for name, (value, ci95) in result.items():
        interval = f" (95%: {ci95[0]:.2f} to {ci95[1]:.2f})" if ci95 else ""
        print(f"{name:16s} {value:+.2f}{interval}")


if __name__ == "__main__":
    main()
