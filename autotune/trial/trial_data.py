"""The data of a trial: its training batches and the examples it is evaluated on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from autotune.domain import Job
from autotune.domain.training import RUNG_EXAMPLES
from autotune.trial.data.batching import Collator, Indices, select_examples, training_collator
from autotune.trial.data.datasets import PreparedTask, load_split, prepare_task
from autotune.trial.distributed.process_group import ProcessGroup
from autotune.trial.split import Split


@dataclass(frozen=True)
class TrialData:
    """``collate`` makes training batches. ``evaluation`` is the split the trial is evaluated on at
    its end. ``validation`` is the one that chooses the best weights, ``rung`` the subset of it that
    is evaluated at a rung."""

    prepared: PreparedTask
    collate: Collator
    evaluation: Split
    validation: Split
    rung: Split

    def eval_collator(self, split: Split) -> Collator:
        """A collator for evaluation: as little padding as possible, whatever the strategy."""
        return Collator(
            split,
            self.prepared.pad_token_id,
            self.collate.device,
            has_mask=self.prepared.has_mask,
        )


def rung_rows(split: Split, seed: int) -> Indices:
    """The rows of :data:`RUNG_EXAMPLES` random examples: of those in windows, all windows."""
    rows_of_examples = split.extras.get("row_example", np.arange(len(split)))
    examples = np.unique(rows_of_examples)
    chosen = np.random.default_rng(seed).permutation(examples)[:RUNG_EXAMPLES]
    return np.flatnonzero(np.isin(rows_of_examples, chosen))


def read_data(
    job: Job, device: torch.device, add_note: Callable[[str], None], group: ProcessGroup
) -> TrialData:
    """The data of ``job``, from the cache if it was prepared before. Notes on it are passed to
    ``add_note``."""
    prepared = group.main_process_first(lambda: prepare_task(job.task))
    for note in prepared.notes:
        add_note(note)
    train = load_split(prepared, "train")
    validation = load_split(prepared, "validation")
    evaluation = load_split(prepared, "test") if job.on_test_split else validation
    rung = select_examples(validation, rung_rows(validation, job.task.seed))
    collate = training_collator(job.strategy, prepared, train, device)
    return TrialData(prepared, collate, evaluation, validation, rung)
