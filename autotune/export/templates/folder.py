"""This folder as it was exported: the strategy, the task, and the data as batches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from autotune.domain import Columns, Strategy, Task
from autotune.trial.data.batching import Collator, training_collator
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.data.split import Split
from autotune.trial.data.tables import read_table
from autotune.trial.tasks import get_task_type


@dataclass(frozen=True)
class ExportFolder:
    """What ``strategy.json`` says, and the files beside it."""

    path: Path
    strategy: Strategy
    task: Task
    seed: int
    label_names: tuple[str, ...]

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        options = get_task_type(self.task.kind).tokenizer_options
        return AutoTokenizer.from_pretrained(self.model_dir, **options)

    @cached_property
    def model_dir(self) -> str:
        """The base model: in this folder, where it was put there, else from the hub."""
        inside = self.path / "model"
        if inside.is_dir():
            return str(inside)
        from huggingface_hub import snapshot_download

        def fetch(*patterns: str) -> Path:
            # sub-folders hold the same weights for other frameworks
            wanted = list(patterns)
            return Path(
                snapshot_download(self.task.model, allow_patterns=wanted, ignore_patterns="*/*")
            )

        found = fetch("*.json", "*.txt", "*.model", "*.safetensors")
        safe = any(found.glob("*.safetensors"))
        return str(found if safe else fetch("pytorch_model.bin"))

    @cached_property
    def prepared(self) -> PreparedTask:
        """What building the model and batches needs to know of the task."""
        return PreparedTask(
            kind=self.task.kind,
            folder=str(self.path / "data"),
            model_dir=self.model_dir,
            label_names=self.label_names,
            sizes={},
            max_length=self.task.max_length,
            pad_token_id=self.tokenizer.pad_token_id,
            tokens={},
            sources={},
            notes=(),
        )

    def split(self, name: str) -> Split:
        """``train``, ``validation`` or ``test`` in word pieces, from ``data/NAME.jsonl``."""
        kind = get_task_type(self.task.kind)
        examples = kind.parse(read_table(self.path / "data" / f"{name}.jsonl"), self.task.columns)
        ids = {label: index for index, label in enumerate(self.label_names)}
        return Split(**kind.encode(self.tokenizer, examples, ids, self.task.max_length))

    def train_collator(self, device: torch.device) -> Collator:
        """How examples of ``train`` become batches on ``device``."""
        return training_collator(self.strategy, self.prepared, self.split("train"), device)

    def eval_collator(self, name: str, device: torch.device) -> Collator:
        """How examples that are not trained on become batches: with as little padding as may be."""
        return Collator(self.split(name), self.prepared.pad_token_id, device)


def open_folder(path: Path) -> ExportFolder:
    """Read ``strategy.json`` in ``path``."""
    document = json.loads((path / "strategy.json").read_text(encoding="utf-8"))
    facts: Mapping[str, Any] = document["task"]
    task = Task(**{**facts, "columns": Columns(**facts["columns"])})
    return ExportFolder(
        path=path,
        strategy=Strategy(document["strategy"]),
        task=replace(task, max_length=document["data"]["max_length"]),
        seed=document["seed"],
        label_names=tuple(document["data"]["label_names"]),
    )
