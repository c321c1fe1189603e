"""The assets of an exported script: the task's data as JSON Lines, and the base model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotune.domain import Study, Task
from autotune.domain.paths import expand_home
from autotune.errors import DataError
from autotune.trial.data.datasets import PreparedTask, prepare_task, read_examples
from autotune.trial.model_sources import digest_models, model_files
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import Examples


def write_assets(task: Task, directory: Path) -> PreparedTask:
    """Write ``data/SPLIT.jsonl`` with the rows of the trials (task limits applied), and copy the
    base model to ``model/`` unless the script can download it from the hub."""
    prepared = prepare_task(task)
    data = directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    for split, examples in read_examples(task).items():
        with (data / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(
                json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(task, examples)
            )
    if not is_hub_model(task.model):
        _copy_model(Path(prepared.model_dir), directory / "model")
    return prepared


def require_same_content(study: Study) -> None:
    """Raise :class:`DataError` if data or models that ``study`` was run on have changed since."""
    if study.data_digest is None and not study.model_digests:
        return
    digests = digest_models(list(study.model_digests))
    now = replace(study, data_digest=prepare_task(study.task).data_digest, model_digests=digests)
    for name, before, after in study.changed_content(now):
        raise DataError(
            f"{name} has changed since study {study.name} was run ({before}, now {after}), so an "
            "export would not be of its trials",
            hint="restore the files, or search them in a study with another name",
        )


def is_hub_model(model: str) -> bool:
    """Whether a task's model is a hub id rather than a directory or a builtin."""
    return not model.startswith("builtin:") and not expand_home(model).is_dir()


def _rows(task: Task, examples: Examples) -> Iterator[Mapping[str, Any]]:
    task_type = get_task_type(task.kind)
    for inputs, labels in zip(examples.inputs, examples.labels, strict=True):
        yield task_type.to_row(inputs, labels, task.columns)


def _copy_model(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in model_files(source):
        shutil.copyfile(path, target / path.name)
