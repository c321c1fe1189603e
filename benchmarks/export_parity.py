"""What exported folders reach against what the trial promised, on SST-2.

For the fastest, the knee and the most accurate trial of a search, the trial itself and its export
to each trainer take turns (trial, trainers, trial), each a whole run in a process of its own. Both
time the same small reference workload beside their steps; speeds are compared in units of it, so
that drift of the machine meets both alike. Printed are the ratios exported / trial, in those units
and (plain) in samples per second, and whether accuracy is within the interval of the trial::

    python benchmarks/export_parity.py --folder parity       # a search first, then all: an hour
    python benchmarks/export_parity.py --folder parity --trial knee --format torchrun --rounds 1

The folder keeps the search, the exports and every comparison. What is there is not measured again:
a long benchmark can be had in pieces. The data is looked for in ``AUTOTUNE_DATA``, then in
``../shared/data``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotune.domain import Job, Limits, Outcome, Study, Trial
from autotune.execution.local import LocalExecutor
from autotune.measure import statistics

ROOT = Path(__file__).parents[1]
PICKS = ("fastest", "knee", "most-accurate")
FORMATS = ("hf-trainer", "accelerate", "torchrun", "lightning", "ray-train")
STUDY = "sst2"


@dataclass(frozen=True)
class Run:
    """Training speed in samples per second and per time of the reference workload."""

    speed: float
    relative: float
    accuracy: float


@dataclass(frozen=True)
class Comparison:
    """One run of an exported folder, between two of its trial."""

    pick: str
    trial: int
    format: str
    before: Run
    exported: Run
    after: Run
    promised_accuracy: tuple[float, float]

    def ratio(self, of: str) -> float:
        """Exported over trial."""
        promised = (getattr(self.before, of) + getattr(self.after, of)) / 2
        return float(getattr(self.exported, of) / promised)


def search(storage: str, folder: Path, trials: int, examples: int) -> None:
    """A short search of the shipped study on SST-2, or the rest of one."""
    data = Path(os.environ.get("AUTOTUNE_DATA", ROOT.parent / "shared/data")).resolve() / "sst2"
    settings = {
        **{f"task.dataset.{s}": data / f"{s}.jsonl" for s in ("train", "validation", "test")},
        "task.train_samples": examples,
        "task.validation_samples": 872,
        "budget.trials": trials,
        "budget.minutes": 60,
    }
    command = ["search", "bert", "--study", STUDY, "--storage", storage]
    command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    environment = {**os.environ, "AUTOTUNE_RUNS": str(folder / "runs")}
    subprocess.run(
        [sys.executable, "-m", "autotune", *command], cwd=ROOT, env=environment, check=True
    )


def run_trial(executor: LocalExecutor, job: Job) -> Run:
    """The trial again, in a worker as the search had it."""
    from autotune.trial.entry import evaluate

    waiting, ended = [job], []

    def tell(job: Job, outcome: Outcome) -> None:
        ended.append(outcome.evidence.measurements)

    executor.drive(lambda: waiting.pop() if waiting else None, evaluate, tell, lambda j, p: None)
    names = ("train_samples_per_second", "relative_speed", "accuracy")
    return Run(*(ended[0][name].value for name in names))


def run_export(folder: Path) -> Run:
    """The exported folder by its own command."""
    from autotune.export.verify import verify

    reached = {check.metric: check.reached for check in verify(folder)}
    speed = json.loads((folder / "metrics.json").read_bytes())["train_samples_per_second"]
    return Run(speed, reached["relative_speed"], reached["accuracy"])


def compare(
    study: Study, trial: Trial, pick: str, formats: Sequence[str], folder: Path
) -> list[Comparison]:
    """One round: the trial, each format, the trial."""
    from autotune.export import exporter
    from autotune.levers import resources

    folders = [folder / f"{pick}-{name}" for name in formats]
    for name, target in zip(formats, folders, strict=True):
        exporter(name).export(study, trial, target)
    job = Job(
        study.name, trial.number, trial.strategy, study.task, trial.seed,
        resources(trial.strategy), Limits(), str(folder / "again"),
    )  # fmt: skip
    executor = LocalExecutor()
    try:
        before = run_trial(executor, job)
        exported = [run_export(target) for target in folders]
        after = run_trial(executor, job)
    finally:
        executor.close()
    ends = trial.evidence.measurements["accuracy"].ci95 or (0.0, 1.0)
    return [
        Comparison(pick, trial.number, name, before, reached, after, ends)
        for name, reached in zip(formats, exported, strict=True)
    ]


def summary(found: Sequence[Comparison]) -> dict[str, Any]:
    """All comparisons of a pick through a format, as ratios with their 95% interval."""
    one = found[0]
    value, ci95 = statistics.mean([c.ratio("relative") for c in found])
    accuracy = statistics.mean([c.exported.accuracy for c in found])[0]
    low, high = one.promised_accuracy
    return {
        "pick": one.pick, "trial": one.trial, "format": one.format, "rounds": len(found),
        "ratio": value, "ci95": ci95, "accuracy": accuracy, "promised_accuracy": (low, high),
        "plain_ratio": statistics.mean([c.ratio("speed") for c in found])[0],
        "speed": statistics.mean([c.exported.speed for c in found])[0],
        "within": low <= accuracy <= high,
    }  # fmt: skip


def in_words(line: dict[str, Any]) -> str:
    spread = "({:.3f} to {:.3f})".format(*line["ci95"]) if line["ci95"] else "(one round)"
    ends = "{:.1%} to {:.1%}".format(*line["promised_accuracy"])
    return (
        f"{line['pick']:14s}{line['format']:11s}{line['ratio']:.3f}x the trial {spread:17s} "
        f"plain {line['plain_ratio']:.3f}x  {line['speed']:6.1f} samples/s  "
        f"accuracy {line['accuracy']:.1%} {'within' if line['within'] else 'OUTSIDE'} {ends}"
    )


class Results:
    """Comparisons, kept in a file a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self._found = [_comparison(json.loads(line)) for line in lines]

    def of(self, pick: str, name: str) -> list[Comparison]:
        return [c for c in self._found if (c.pick, c.format) == (pick, name)]

    def add(self, found: Sequence[Comparison]) -> None:
        self._found += found
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in found)


def _comparison(record: dict[str, Any]) -> Comparison:
    runs = {name: Run(**record[name]) for name in ("before", "exported", "after")}
    return Comparison(**{**record, **runs})


def main() -> None:
    parser = argparse.ArgumentParser(description="Exported folders against the trial's promise")
    parser.add_argument("--folder", type=Path, required=True, help="where all is kept")
    parser.add_argument("--trial", action="append", help=f"default: {', '.join(PICKS)}")
    parser.add_argument("--format", action="append", help=f"default: {', '.join(FORMATS)}")
    parser.add_argument("--rounds", type=int, default=3, help="comparisons of each, in all")
    parser.add_argument("--trials", type=int, default=8, help="of the search")
    parser.add_argument("--examples", type=int, default=800, help="of training")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    from autotune.analysis.select import choose
    from autotune.store import open_store

    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    storage = f"sqlite:///{folder / 'parity.db'}"
    if not (folder / "results.jsonl").exists():
        search(storage, folder, asked.trials, asked.examples)  # or the rest of it
    store = open_store(storage, read_only=True)
    study, trials = store.study(STUDY), store.trials(STUDY)
    results = Results(folder / "results.jsonl")
    formats = asked.format or FORMATS
    for pick in asked.trial or PICKS:
        trial = store.trial(STUDY, choose(study, trials, pick).number)
        while short := [f for f in formats if len(results.of(pick, f)) < asked.rounds]:
            # Every other round backwards, so that none is always measured late.
            order = short[:: (-1) ** len(results.of(pick, short[0]))]
            results.add(compare(study, trial, pick, order, folder))
        for line in (summary(results.of(pick, name)) for name in formats):
            print(json.dumps(line) if asked.json else in_words(line), flush=True)
    store.close()


if __name__ == "__main__":
    main()
