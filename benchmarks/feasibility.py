"""Errors of predicted peak memory and time, and the number of trials that run out of memory.

Usage: python benchmarks/feasibility.py [--model builtin:bert-tiny] [--storage URL] [--json]
       python benchmarks/feasibility.py --landscape benchmarks/landscapes/trec.parquet [--data DIR]

Without a landscape, both parts run real trials on this host. First 30 random trials without a
limit: the peaks of later trials are predicted from the first 0, 5, 10 and 20, in 10 shuffled
orders. Then a search of 40 trials whose memory limit is the median of those peaks, so that half of
the grid does not fit. An interrupted run continues. It takes about 10 minutes.

With a landscape only the first part is done, on its records. The files of its task are looked up
under ``--data`` (or ``$AUTOTUNE_DATA``), because their sizes are needed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

from autotune import spec
from autotune.domain import FailureReason, State, Strategy, Task, Trial, WorkloadProfile
from autotune.execution.local import LocalExecutor
from autotune.execution.replay.benchmark import read
from autotune.store import open_store
from autotune.trial.workload import profile_workload
from autotune.tuner.feasibility.memory import memory_footprints
from autotune.tuner.feasibility.memory_model import MemoryModel, Peak
from autotune.tuner.feasibility.time_model import TimedTrial, TimeModel

TRAINING_SIZES = (0, 5, 10, 20)
NUM_ORDERS = 10
RANDOM_TRIALS, SEARCH_TRIALS = 30, 40

STUDY = """
study: feasibility
task: {{kind: text-classification, model: {model}, dataset: builtin:docstrings, max_length: 128,
       steps: 3, train_samples: 1500, validation_samples: 64}}
objectives:
  - {{metric: train_samples_per_second, direction: maximize}}
  - {{metric: accuracy, direction: maximize}}
space:
  allocator: [system, tuned]
  batch_size: [16, 64, 192, 384]
  micro_batch_size: [full, 16]
  padding: [fixed, dynamic, bucketed]
  attention: [eager, sdpa]
  activation_checkpointing: [false, true]
  pruning_ratio: [0.0, 0.5]
  freeze_layers: [0, 1]
  dropout: [model, 0.0]
  optimizer: [adamw-fused, sgd]
sampler: random
early_stopping: none
sharing: false
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="builtin:bert-tiny")
    parser.add_argument("--storage", default="sqlite:///feasibility.db")
    parser.add_argument("--landscape", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get("AUTOTUNE_DATA", "."))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.landscape is not None:
        result = {"errors": _errors(*_from_landscape(options.landscape, options.data))}
    else:
        result = _from_trials(options.model, options.storage)
    print(json.dumps(result) if options.json else format_result(result))


def _from_trials(model: str, storage: str) -> dict[str, Any]:
    _search(model, storage, "recorded", [f"budget={{trials: {RANDOM_TRIALS}}}"])
    task, trials = _trials(storage, "recorded")
    complete = [t for t in trials if t.state is State.COMPLETE]
    peaks = [t.metric("peak_memory_gib") or 0.0 for t in complete]
    limit = median(peaks)
    settings = [f"budget={{trials: {SEARCH_TRIALS}}}", f"limits.memory_gib={limit:.4f}"]
    _search(model, storage, "searched", [*settings, "sampler.seed=1"])
    _, searched = _trials(storage, "searched")
    failures = [trial.failure for trial in searched]
    return {
        "errors": _errors(_profile(task), [_observation(t) for t in complete]),
        "memory_limit_gib": limit,
        "ran": sum(failure != FailureReason.PREDICTED for failure in failures),
        "skipped": failures.count(FailureReason.PREDICTED),
        "out_of_memory": failures.count(FailureReason.OUT_OF_MEMORY),
    }


def _search(model: str, storage: str, name: str, overrides: Sequence[str]) -> None:
    settings = [argument for override in overrides for argument in ("--set", override)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "feasibility.yaml"
        file.write_text(STUDY.format(model=model))
        command = [sys.executable, "-m", "autotune", "search", str(file), "--study", name]
        subprocess.run([*command, "--storage", storage, *settings], check=True)


def _trials(storage: str, name: str) -> tuple[Task, Sequence[Trial]]:
    store = open_store(storage, read_only=True)
    try:
        return store.study(name).task, store.trials(name)
    finally:
        store.close()


Observation = tuple[Strategy, float, float, float]
"""A strategy, its peak memory in GiB, its seconds, and its speed in samples per second."""


def _observation(trial: Trial) -> Observation:
    values = [trial.metric(name) or 0.0 for name in ("peak_memory_gib", "train_samples_per_second")]
    return trial.strategy, values[0], trial.seconds or 0.0, values[1]


def _from_landscape(path: Path, data: Path | str) -> tuple[WorkloadProfile, Sequence[Observation]]:
    landscape = read(path)
    task = spec.load(landscape.spec, host=landscape.host).study.task
    if isinstance(task.dataset, Mapping):
        files = {split: str(Path(data) / name) for split, name in task.dataset.items()}
        task = replace(task, dataset=files)
    observations = [
        (
            record.strategy,
            record.measurements["peak_memory_gib"].value,
            record.seconds,
            record.measurements["train_samples_per_second"].value,
        )
        for record in landscape.records
        if record.state is State.COMPLETE
    ]
    return _profile(task), observations


def _profile(task: Task) -> WorkloadProfile:
    executor = LocalExecutor()
    try:
        return executor.call(profile_workload, task)
    finally:
        executor.close()


def _errors(
    workload: WorkloadProfile, observations: Sequence[Observation]
) -> list[dict[str, float]]:
    """Mean absolute relative errors: median and maximum over shuffled orders."""
    peaks = [
        Peak(memory_footprints(workload, strategy, "host"), gib)
        for strategy, gib, *_ in observations
    ]
    rows = []
    for count in TRAINING_SIZES:
        memory, seconds = [], []
        for order in range(NUM_ORDERS):
            indices = random.Random(order).sample(range(len(observations)), len(observations))
            shuffled = [peaks[index] for index in indices]
            memory.append(_memory_error(shuffled[:count], shuffled[count:]))
            if count:
                timed = [observations[index] for index in indices]
                seconds.append(_time_error(workload, timed[:count], timed[count:]))
        rows.append(
            {
                "trials": count,
                "memory": median(memory),
                "memory_worst": max(memory),
                "time": median(seconds) if seconds else float("nan"),
            }
        )
    return rows


def _memory_error(training: Sequence[Peak], test: Sequence[Peak]) -> float:
    model = MemoryModel(training)
    return mean(abs(model.predict(peak.footprints).value / peak.gib - 1) for peak in test)


def _time_error(
    workload: WorkloadProfile, training: Sequence[Observation], test: Sequence[Observation]
) -> float:
    model = TimeModel(
        workload, [TimedTrial(s, seconds, speed) for s, _, seconds, speed in training]
    )
    predicted = [(model.predict(s), seconds) for s, _, seconds, _ in test]
    return mean(abs(p.value / seconds - 1) for p, seconds in predicted if p is not None)


def format_result(result: dict[str, Any]) -> str:
    lines = ["learned from   peak memory error (worst order)      time error"]
    for row in result["errors"]:
        memory = f"{row['memory']:.1%} ({row['memory_worst']:.1%})"
        seconds = f"{row['time']:.1%}" if row["trials"] else "unknown"
        lines.append(f"{row['trials']:>5} trials   {memory:>32}   {seconds:>11}")
    if "memory_limit_gib" in result:
        lines.append(
            f"limit {result['memory_limit_gib']:.2f} GiB, the median peak: {result['ran']} trials "
            f"ran, {result['out_of_memory']} out of memory; {result['skipped']} were skipped"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
