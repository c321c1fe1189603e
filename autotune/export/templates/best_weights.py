"""Evaluates the model during training and keeps its best weights (``task.evaluate_every``)."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from transformers import PreTrainedModel

from autotune.export.templates.evaluation import validation_scores
from autotune.export.templates.folder import ExportFolder
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.trial.best_checkpoint import best_checkpoint
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess
from autotune.trial.effects.precision import Precision


class BestWeights:
    """Evaluates after the optimizer steps in ``steps`` on the validation split.

    The weights are in ``checkpoints/`` until they are restored. Time of evaluations is no training
    time. Without ``task.evaluate_every`` there are no steps, and the last weights count.
    """

    def __init__(
        self,
        folder: ExportFolder,
        steps: Collection[int],
        recorder: ThroughputRecorder,
        device: torch.device,
        group: ProcessGroup | None = None,
    ) -> None:
        self._folder, self._steps, self._recorder, self._device = folder, steps, recorder, device
        self._group = group or SingleProcess(device)
        self._checkpoint = best_checkpoint(
            folder.path / "checkpoints", folder.task, self._group.rank
        )

    def is_due(self, step: int) -> bool:
        """Whether the model is evaluated after ``step``."""
        return self._checkpoint is not None and step in self._steps

    def evaluate(
        self,
        step: int,
        model: PreTrainedModel,
        precision: Precision,
        shards: nn.Module | None = None,
    ) -> None:
        """Evaluate ``model`` after ``step``, and keep its weights if they are the best so far.
        ``shards``: this rank's part of the weights of ``model``, if it has not all of them."""
        assert self._checkpoint is not None
        self._recorder.pause()
        is_training = model.training
        scores = validation_scores(self._folder, model, precision, self._device, self._group)
        model.train(is_training)
        self._recorder.evaluations.append({"step": step, **scores})
        self._checkpoint.offer(model if shards is None else shards, step, scores)
        self._recorder.resume()

    def restore(self, model: nn.Module) -> None:
        """Set ``model``, or this rank's part of it, to the weights of the best evaluation."""
        if self._checkpoint is None:
            return
        self._recorder.best_step = self._checkpoint.restore(model).step
        self._checkpoint.delete()
