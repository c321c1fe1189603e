"""The content of an exported folder: strategy, task, data and model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from autotune.domain import Columns, Strategy, Task
from autotune.domain.metrics import METRICS, own_score
from autotune.trial.data.batching import Collator, training_collator
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.model_sources import FILES, PICKLED
from autotune.trial.split import Split
from autotune.trial.tables import read_table
from autotune.trial.tasks import get_task_type
from autotune.trial.tasks.base import apply_prefix_space


@dataclass(frozen=True)
class ExportFolder:
    """The content of ``strategy.json``, and the files next to it."""

    path: Path
    strategy: Strategy
    task: Task
    seed: int
    label_names: tuple[str, ...]
    max_length: int
    class_weights: tuple[float, ...] | None

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        options = get_task_type(self.task.kind).tokenizer_options
        tokenizer = AutoTokenizer.from_pretrained(self.model_dir, **options)
        apply_prefix_space(tokenizer)
        return tokenizer

    @cached_property
    def model_dir(self) -> str:
        """The directory of the base model: in this folder, else downloaded from the hub."""
        exported_model = self.path / "model"
        if exported_model.is_dir():
            return str(exported_model)
        from huggingface_hub import snapshot_download

        def download(*patterns: str) -> Path:
            # Sub-folders have the same weights for other frameworks.
            return Path(
                snapshot_download(
                    self.task.model, allow_patterns=list(patterns), ignore_patterns="*/*"
                )
            )

        directory = download(*FILES)
        has_safetensors = any(directory.glob("*.safetensors"))
        return str(directory if has_safetensors else download(PICKLED))

    @cached_property
    def prepared(self) -> PreparedTask:
        """The task, as :func:`autotune.trial.setup.build_model` and collators need it."""
        return PreparedTask(
            kind=self.task.kind,
            folder=str(self.path / "data"),
            model_dir=self.model_dir,
            label_names=self.label_names,
            sizes={},
            max_length=self.max_length,
            pad_token_id=self.tokenizer.pad_token_id,
            tokens={},
            sources={},
            notes=(),
            class_weights=self.class_weights,
            loss=self.task.loss,
            collator=self.task.collator,
            model_class=self.task.model_class,
            threshold=self.task.threshold,
            has_windows=self.task.stride is not None,
            has_mask="attention_mask" in self.tokenizer.model_input_names,
        )

    def split(self, name: str) -> Split:
        """The tokenized split ``train``, ``validation`` or ``test``, from ``data/NAME.jsonl``."""
        task_type = get_task_type(self.task.kind)
        table = read_table(self.path / "data" / f"{name}.jsonl")
        examples = task_type.parse(table, self.task.columns)
        ids = {label.strip(): index for index, label in enumerate(self.label_names)}
        return Split.from_arrays(
            task_type.encode(self.tokenizer, examples, ids, self.max_length, self.task.stride)
        )

    def train_collator(self, device: torch.device) -> Collator:
        """The collator of ``train`` for training on ``device``."""
        return training_collator(self.strategy, self.prepared, self.split("train"), device)

    def eval_collator(self, name: str, device: torch.device) -> Collator:
        """The collator of a split for evaluation: as little padding as possible."""
        prepared = self.prepared
        return Collator(self.split(name), prepared.pad_token_id, device, has_mask=prepared.has_mask)


def open_folder(path: Path) -> ExportFolder:
    """Read ``strategy.json`` in ``path``."""
    document = json.loads((path / "strategy.json").read_text(encoding="utf-8"))
    fields: Mapping[str, Any] = document["task"]
    weights = document["data"]["class_weights"]
    task = Task(**{**fields, "columns": Columns(**fields["columns"])})
    for reference in task.metrics or ():
        METRICS.register(own_score(reference))
    return ExportFolder(
        path=path,
        strategy=Strategy(document["strategy"]),
        task=task,
        seed=document["seed"],
        label_names=tuple(document["data"]["label_names"]),
        max_length=document["data"]["max_length"],
        class_weights=None if weights is None else tuple(weights),
    )
