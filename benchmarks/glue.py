"""The default of ``Trainer`` against the answer of a search, for each task of a folder, confirmed.

    python benchmarks/glue.py --data DIR --folder glue [--tasks sst2 mrpc] [--minutes 30]

``DIR`` has a folder for each task (``sst2``, ``mrpc``, ``stsb``, ``mnli``, ..., and ``trec``,
``wnut17``) with ``train.jsonl`` and, where the task has them, ``validation.jsonl`` and
``test.jsonl``; splits without labels count as missing. For each task a search of so many minutes
looks for the fastest training whose score is within a point of the default's. Its answer and the
default are trained again with ``--seeds`` other seeds and evaluated on the test split; differences
and ratios are paired (``autotune/analysis/paired.py``).

The studies are kept in ``--folder``: an interrupted run continues, and a finished one is only read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from autotune.analysis.front import find_baseline
from autotune.analysis.paired import PairedRuns
from autotune.analysis.paired_text import describe_difference, describe_ratio
from autotune.analysis.recommendation import Recommender
from autotune.domain import Columns
from autotune.domain.datasets import NAMED_DATASETS
from autotune.store import open_store

ROOT = Path(__file__).parents[1]
SPEED = "train_samples_per_second"
SCORES = {
    "text-classification": "accuracy",
    "token-classification": "f1",
    "regression": "pearson",
    "multi-label": "f1_micro",
    "question-answering": "f1",
}

OWN_SCORES = {"cola": "mcc", "mrpc": "f1", "qqp": "f1"}
"""The scores of tasks whose classes are not equally frequent: a model that always predicts the same
class has a high accuracy. GLUE gives the same scores, but F1 of one class, not the mean of both."""

SPACE: Mapping[str, Any] = {
    "threads": "auto",
    "allocator": "auto",
    "batch_size": [8, 16, 32, 64],
    "padding": ["dynamic", "bucketed"],
    "precision": "auto",
    "pruning_ratio": {"low": 0.0, "high": 0.75, "step": 0.25},
    "pruning_method": ["structured", "layers"],
    "freeze_layers": [0, 1, 2],
    "learning_rate": {"low": 2e-5, "high": 1e-3, "log": True},
}


@dataclass(frozen=True)
class BenchmarkTask:
    """A folder of data. ``kind`` is the kind of task, ``columns`` those of its rows."""

    name: str
    kind: str
    columns: Columns

    @property
    def score(self) -> str:
        return OWN_SCORES.get(self.name, SCORES[self.kind])


OTHERS = {
    "trec": BenchmarkTask("trec", "text-classification", Columns()),
    "wnut17": BenchmarkTask("wnut17", "token-classification", Columns("tokens", None, "tags")),
}


def read_tasks(data: Path, names: list[str]) -> Iterator[BenchmarkTask]:
    """The tasks ``names``, or all that ``data`` has. The texts of rows may have the names of the
    hub's columns or those of a study file's defaults."""
    for folder in [data / name for name in names] if names else sorted(data.iterdir()):
        rows = folder / "train.jsonl"
        named = NAMED_DATASETS.get(f"glue/{folder.name}")
        if not rows.is_file() or (named is None and folder.name not in OTHERS):
            if names:
                raise SystemExit(f"{rows} is missing, or {folder.name} is no task of this script")
            continue
        if named is None:
            yield OTHERS[folder.name]
            continue
        with rows.open(encoding="utf-8") as lines:
            keys = json.loads(next(lines)).keys()
        pair = None if named.columns.text_pair is None else "text_pair"
        columns = named.columns if named.columns.text in keys else Columns("text", pair)
        yield BenchmarkTask(folder.name, named.kind, columns)


def study_file(task: BenchmarkTask, options: argparse.Namespace) -> dict[str, Any]:
    """The study of a task: the fastest training within a point of the default's score."""
    folder = options.data.resolve() / task.name
    splits = ("train", "validation", "test")
    files = {split: folder / f"{split}.jsonl" for split in splits}
    section = {
        "kind": task.kind,
        "model": options.model,
        "dataset": {split: str(file) for split, file in files.items() if file.is_file()},
        "columns": {key: name for key, name in asdict(task.columns).items() if name is not None},
        "max_length": options.max_length,
        "validation_samples": 1000,
    }
    if options.examples is not None:
        section["train_samples"] = options.examples
    return {
        "study": task.name,
        "task": section,
        "goal": {
            "require": [f"{task.score} >= baseline - 0.01"],
            "maximize": SPEED,
            "seeds": options.seeds,
        },
        "space": dict(SPACE),
        "budget": {"minutes": options.minutes, "trials": options.trials},
    }


def search(task: BenchmarkTask, options: argparse.Namespace) -> None:
    """Run or continue the search of ``task``."""
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{task.name}.yaml"
    path.write_text(yaml.safe_dump(study_file(task, options)), encoding="utf-8")
    command = [sys.executable, "-m", "autotune", "search", str(path), "--storage", storage(options)]
    environment = {**os.environ, "AUTOTUNE_RUNS": f"{folder}/runs"}
    if code := subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise SystemExit(code)  # the command has said why


def storage(options: argparse.Namespace) -> str:
    return f"sqlite:///{options.folder.resolve()}/studies.db"


def compare(task: BenchmarkTask, options: argparse.Namespace) -> str:
    """A row of the table: the answer relative to the default, on the test split."""
    store = open_store(storage(options), read_only=True)
    study, trials = store.study(task.name), store.trials(task.name)
    store.close()
    default, pairs = find_baseline(study, trials), PairedRuns(trials)
    answer = Recommender(study, trials).recommend("knee").trial
    if default is None:
        return f"| {task.name} | the default did not complete | | |"
    if answer.strategy == default.strategy:
        return f"| {task.name} | the default is the answer | | |"
    changed = {
        name: value
        for name, value in answer.strategy.values.items()
        if value != default.strategy.values[name]
    }
    ratio = pairs.ratio(answer, default, SPEED)
    difference = pairs.score_difference(answer, default, task.score)
    figures = [
        "not confirmed" if ratio is None else describe_ratio(ratio),
        "not confirmed" if difference is None else describe_difference(difference),
    ]
    strategy = ", ".join(f"{name} {value}" for name, value in changed.items())
    return f"| {' | '.join([task.name, *figures, strategy])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per task")
    parser.add_argument("--folder", type=Path, default=Path("glue"), help="keeps the studies")
    parser.add_argument("--tasks", nargs="*", default=[], help="all that --data has, unless given")
    parser.add_argument("--model", default="builtin:minilm")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--minutes", type=float, default=30.0, help="of each search")
    parser.add_argument("--trials", type=int, default=60, help="of each search, at most")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, help="of each training split; all unless given")
    options = parser.parse_args()
    tasks = list(read_tasks(options.data, options.tasks))
    for task in tasks:
        search(task, options)
    print("| task | training speed | score on test | strategy |")
    print("|---|---|---|---|")
    for task in tasks:
        print(compare(task, options))


if __name__ == "__main__":
    main()
