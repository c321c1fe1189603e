"""Runs of Hugging Face's Trainer on the batches of a plan, with which trials are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments
from trial_cases import make_collator

from autotune.trial.plan import TrainingPlan
from autotune.trial.split import Split


def trainer_losses(
    folder: Path,
    model: PreTrainedModel,
    plan: TrainingPlan,
    trainer_class: type[Trainer] = Trainer,
    **arguments: Any,
) -> list[float]:
    """Train ``model`` with Trainer under ``arguments``; return the loss of each step."""
    rows = [
        int(row)
        for _, batch in zip(range(plan.steps), plan.batches(), strict=False)
        for row in batch
    ]

    class SameOrderTrainer(trainer_class):  # type: ignore[valid-type,misc]
        def _get_train_sampler(self, train_dataset: object = None) -> list[int]:
            return rows

    settings = TrainingArguments(
        str(folder), per_device_train_batch_size=plan.batch_size, max_steps=plan.steps,
        use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
        **arguments,
    )  # fmt: skip
    examples = _examples(plan.collate.split)
    trainer = SameOrderTrainer(model, settings, train_dataset=examples, data_collator=_pad)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _examples(split: Split) -> list[dict[str, torch.Tensor]]:
    collate = make_collator(split)
    batches = [collate(np.array([row])) for row in range(len(split))]
    return [{"input_ids": b.inputs["input_ids"][0], "labels": b.labels[0]} for b in batches]


def _pad(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    ids = nn.utils.rnn.pad_sequence([row["input_ids"] for row in rows], batch_first=True)
    labels = torch.stack([row["labels"] for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}
