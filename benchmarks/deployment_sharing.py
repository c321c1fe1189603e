"""Time of a search with 6 trainings and 12 deployments of each, against trials that share nothing.

The search runs all 72 trials. Trials without sharing are run for each deployment once, each
training twice, and their mean counts for all 72. Both are ordinary studies in one database, so a
benchmark that was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from landscapes.record import enqueue, search

from autotune import spec
from autotune.domain import State, Strategy, Trial
from autotune.domain.search_space import grid
from autotune.hardware import inventory
from autotune.levers import training_key
from autotune.store import open_store

SPACE = {
    "learning_rate": [5e-5, 1e-4, 2e-4],
    "epochs": [1, 2],
    "runtime": ["torch", "onnxruntime", "openvino"],
    "quantization": ["none", "int8-dynamic", "int8-static"],
    "inference_threads": [0, 1],
}
"""6 trainings, the default among them, and 12 deployments: torch runs no int8, OpenVINO only static
int8."""

VALIDATION_EXAMPLES = 500


def compare_sharing(task: dict[str, Any], out: Path) -> None:
    """Run both studies and print the ratio of their times."""
    out.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{(out / 'sharing.db').resolve()}"
    shared = write_study("shared", task, out, sharing=True)
    separate = write_study("separate", task, out, sharing=False)
    strategies = list(grid(spec.load(shared, host=inventory()).study.space))
    search(shared, url, [f"budget={{trials: {len(strategies)}}}"])
    study = spec.load(separate, host=inventory()).study
    count = enqueue(url, study, one_per_deployment(strategies), [study.task.seed])
    search(separate, url, [f"budget={{trials: {count}}}"])
    store = open_store(url)
    print_times(store.trials("shared"), store.trials("separate"))
    store.close()


def write_study(name: str, task: dict[str, Any], out: Path, *, sharing: bool) -> Path:
    """The study file ``name``, in which nothing is stopped early or run again."""
    document = {
        "study": name,
        "task": {**task, "validation_samples": VALIDATION_EXAMPLES},
        "objectives": [
            {"metric": "latency_p50_ms", "direction": "minimize"},
            {"metric": "deployed_accuracy", "direction": "maximize"},
        ],
        "space": {"device": "cpu", **SPACE},
        "sampler": "grid",
        "sharing": sharing,
        "early_stopping": "none",
        "budget": {"trials": 1},
        "keep": "all",
    }
    path = out / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def one_per_deployment(strategies: Sequence[Strategy]) -> list[Strategy]:
    """A strategy for each deployment, which have the trainings in turn."""
    trainings = list(dict.fromkeys(training_key(strategy) for strategy in strategies))
    by_deployment: dict[tuple[object, ...], dict[str, Strategy]] = {}
    for strategy in strategies:
        key = tuple(strategy[name] for name in list(SPACE)[2:])
        by_deployment.setdefault(key, {})[training_key(strategy)] = strategy
    return [
        members[trainings[index % len(trainings)]]
        for index, members in enumerate(by_deployment.values())
    ]


def print_times(shared: Sequence[Trial], separate: Sequence[Trial]) -> None:
    complete = [trial for trial in shared if trial.state is State.COMPLETE]
    total = sum(trial.seconds or 0.0 for trial in complete)
    runs = [trial.seconds or 0.0 for trial in separate if trial.state is State.COMPLETE]
    trainings = {training_key(trial.strategy) for trial in complete}
    expected = fmean(runs) * len(complete)
    print(
        f"{len(complete)} of {len(shared)} trials, {len(trainings)} trainings: {total:.0f} s; "
        f"run separately {expected:.0f} s ({fmean(runs):.1f} s each, from {len(runs)}); "
        f"ratio {total / expected:.3f}"
    )
