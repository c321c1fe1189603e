"""What exported folders reach against what the trial promised, on SST-2.

For the fastest, the knee and the most accurate trial of a search, the trial itself and its export
to each trainer take turns (trial, trainers, trial, trainers ...), each a whole run in a process of
its own. Both time the same small reference workload beside their steps; speeds are compared in
units of it, so that drift of the machine meets both alike. Printed are the ratios exported / trial
and whether accuracy is within the interval of the trial::

    python benchmarks/export_parity.py                        # a search first, then all three
    python benchmarks/export_parity.py --storage sqlite:///sst2.db --study sst2 --trial knee

The data is looked for in ``AUTOTUNE_DATA``, then in ``../shared/data``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PICKS = ("fastest", "knee", "most-accurate")
FORMATS = ("hf-trainer", "accelerate", "torchrun", "lightning", "ray-train")


def search(storage: str, study: str, trials: int, examples: int, folder: Path) -> None:
    """A short search of the shipped study on SST-2."""
    data = Path(os.environ.get("AUTOTUNE_DATA", ROOT.parent / "shared/data")) / "sst2"
    settings = {
        **{f"task.dataset.{s}": data / f"{s}.jsonl" for s in ("train", "validation", "test")},
        "task.train_samples": examples,
        "task.validation_samples": 872,
        "budget.trials": trials,
        "budget.minutes": 30,
    }
    command = ["search", "bert", "--study", study, "--storage", storage]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    environment = {**os.environ, "AUTOTUNE_RUNS": str(folder / "runs")}
    subprocess.run(
        [sys.executable, "-m", "autotune", *command], cwd=ROOT, env=environment, check=True
    )


def trial_side(job: Path) -> dict[str, float]:
    """Relative speed and accuracy of the trial, run again."""
    command = [sys.executable, "-m", "autotune.trial", str(job)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    metrics = json.loads(ran.stdout)["metrics"]
    return {name: metrics[name]["value"] for name in ("relative_speed", "accuracy")}


def exported_side(folder: Path) -> dict[str, float]:
    """The same of an exported folder, by its own command."""
    from autotune.export.verify import verify

    return {check.metric: check.reached for check in verify(folder)}


def compare(
    storage: str, study: str, pick: str, formats: Sequence[str], rounds: int, scratch: Path
) -> list[dict[str, Any]]:
    """A line for each format: ratios of relative speed, and accuracy."""
    from autotune.analysis.select import choose
    from autotune.domain import Job, Limits
    from autotune.export import exporter
    from autotune.levers import resources
    from autotune.measure import statistics
    from autotune.store import open_store

    store = open_store(storage, read_only=True)
    whole = store.study(study)
    trial = store.trial(study, choose(whole, store.trials(study), pick).number)
    store.close()
    job = scratch / "job.json"
    job.write_text(_as_json(Job(
        study, trial.number, trial.strategy, whole.task, trial.seed,
        resources(trial.strategy), Limits(), str(scratch),
    )))  # fmt: skip
    folders = {name: scratch / f"{pick}-{name}" for name in formats}
    for name, folder in folders.items():
        exporter(name).export(whole, trial, folder)
    promises, reached = [trial_side(job)], {name: [] for name in formats}  # type: ignore[var-annotated]
    for _ in range(rounds):
        for name, folder in folders.items():
            reached[name].append(exported_side(folder))
        promises.append(trial_side(job))
    low, high = trial.evidence.measurements["accuracy"].ci95 or (0.0, 1.0)
    lines = []
    for name in formats:
        ratios = [
            found["relative_speed"] * 2 / (before["relative_speed"] + after["relative_speed"])
            for found, before, after in zip(reached[name], promises, promises[1:], strict=False)
        ]
        value, ci95 = statistics.mean(ratios)
        accuracy = statistics.mean([found["accuracy"] for found in reached[name]])[0]
        lines.append({
            "pick": pick, "trial": trial.number, "format": name, "ratio": value, "ci95": ci95,
            "ratios": ratios, "accuracy": accuracy, "accuracy_interval": [low, high],
            "within": low <= accuracy <= high,
        })  # fmt: skip
    return lines


def _as_json(job: Any) -> str:
    from pydantic import TypeAdapter

    return TypeAdapter(type(job)).dump_json(job).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Exported folders against the trial's promise")
    parser.add_argument("--storage", help="database of an earlier search")
    parser.add_argument("--study", default="sst2")
    parser.add_argument("--trial", action="append", help=f"default: {', '.join(PICKS)}")
    parser.add_argument("--format", action="append", help=f"default: {', '.join(FORMATS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8, help="of the search")
    parser.add_argument("--examples", type=int, default=768, help="of training")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="autotune-parity-") as made:
        scratch = Path(made)
        storage = asked.storage or f"sqlite:///{scratch / 'parity.db'}"
        if asked.storage is None:
            search(storage, asked.study, asked.trials, asked.examples, scratch)
        for pick in asked.trial or PICKS:
            formats = asked.format or FORMATS
            for line in compare(storage, asked.study, pick, formats, asked.rounds, scratch):
                print(json.dumps(line) if asked.json else _words(line), flush=True)


def _words(line: dict[str, Any]) -> str:
    low, high = line["ci95"] or (float("nan"), float("nan"))
    ends = "{:.1%} to {:.1%}".format(*line["accuracy_interval"])
    within = "within" if line["within"] else "OUTSIDE"
    return (
        f"{line['pick']:14s} {line['format']:11s} {line['ratio']:.3f}x the trial "
        f"({low:.3f} to {high:.3f})  accuracy {line['accuracy']:.1%} {within} {ends}"
    )


if __name__ == "__main__":
    main()
