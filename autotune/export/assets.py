"""What a script trains on: the task's data as JSON Lines, and the base model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autotune.domain import Columns, Task
from autotune.trial.data.datasets import PreparedTask, prepare_task, read_examples
from autotune.trial.model_sources import model_files
from autotune.trial.tasks.base import Examples


def write_assets(task: Task, directory: Path) -> PreparedTask:
    """Write ``data/SPLIT.jsonl`` with the very rows the trials saw, capped as the task says, and
    copy the base model to ``model/``. A model of the hub stays there and is fetched by its id."""
    prepared = prepare_task(task)
    data = directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    for split, examples in read_examples(task).items():
        with (data / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(examples, task.columns)
            )
    if not on_hub(task.model):
        _copy_model(Path(prepared.model_dir), directory / "model")
    return prepared


def on_hub(model: str) -> bool:
    """Whether a task's model is one of the hub's, and no directory or builtin."""
    return not model.startswith("builtin:") and not Path(model).expanduser().is_dir()


def _rows(examples: Examples, columns: Columns) -> Iterator[Mapping[str, Any]]:
    for inputs, label in zip(examples.inputs, examples.labels, strict=True):
        if isinstance(inputs, tuple):  # a text, or a pair of them
            names = [columns.text, *([columns.text_pair] if columns.text_pair else [])]
            yield {**dict(zip(names, inputs, strict=True)), columns.label: label}
        else:
            yield {columns.text: list(inputs), columns.label: list(label)}


def _copy_model(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in model_files(source):
        shutil.copyfile(path, target / path.name)
