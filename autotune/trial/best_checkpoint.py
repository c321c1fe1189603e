"""The weights of a training run at its best evaluation, with ``task.evaluate_every``.

They are in a file, because a copy in memory would count as memory of the strategy.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from autotune.domain import Task
from autotune.domain.metrics import get_metric
from autotune.errors import ExecutionError
from autotune.measure import memory
from autotune.trial.checkpoint_file import CheckpointFile, read_checkpoint, write_checkpoint
from autotune.trial.model_tensors import model_tensors

CPU = torch.device("cpu")


@dataclass(frozen=True)
class BestEvaluation:
    """The evaluation after ``step``, whose ``score`` is the best so far."""

    step: int
    score: float


class BestCheckpoint:
    """Keeps the weights of the evaluation with the best ``metric`` in ``folder``.

    Of equal scores, the first counts, as in Trainer. Each ``rank`` of a parallel run writes its own
    part of the weights; all of them must be given the same scores.
    """

    def __init__(self, folder: Path, metric: str, rank: int = 0) -> None:
        self._folder, self._metric, self._rank = folder, metric, rank
        self._sign = 1.0 if get_metric(metric).direction == "maximize" else -1.0
        self._protected_step: int | None = None
        self.evaluation: BestEvaluation | None = None

    def offer(self, model: nn.Module, step: int, scores: Mapping[str, float]) -> None:
        """Keep the weights of ``model`` if their score is better than all before.

        Raises :class:`~autotune.errors.ExecutionError` if they cannot be written.
        """
        score, earlier = scores[self._metric], self.evaluation
        if earlier is not None and self._sign * score <= self._sign * earlier.score:
            return
        with memory.excluded_from_peak():
            self._write(model, step)
        self.evaluation = BestEvaluation(step, score)
        if earlier is not None and earlier.step != self._protected_step:
            with suppress(OSError):
                self._path(earlier.step).unlink()

    def restore(self, model: nn.Module) -> BestEvaluation:
        """Set ``model`` to the weights of the best evaluation, of which there must be one.

        Raises :class:`~autotune.errors.ExecutionError` if they cannot be read.
        """
        assert self.evaluation is not None
        path = self._path(self.evaluation.step)
        with memory.excluded_from_peak(), torch.no_grad():
            checkpoint = read_checkpoint(path)
            if checkpoint is None:
                raise ExecutionError(
                    f"the weights of the best evaluation are missing or damaged: {path}",
                    hint="run the training again",
                )
            for name, tensor in model_tensors(model).items():
                tensor.copy_(checkpoint.tensors[name])
        return self.evaluation

    def delete(self) -> None:
        """Delete the file of the best evaluation, and its folder if that is empty then."""
        if self.evaluation is not None:
            with suppress(OSError):
                self._path(self.evaluation.step).unlink()
                self._folder.rmdir()

    def protect(self) -> None:
        """Keep the file of the present best evaluation, even after a better one: a checkpoint
        refers to it."""
        self._protected_step = None if self.evaluation is None else self.evaluation.step

    def has_file(self, folder: Path, evaluation: BestEvaluation | None) -> bool:
        """Whether ``folder`` has the weights of ``evaluation``, if there is one."""
        return evaluation is None or (folder / self._path(evaluation.step).name).exists()

    def adopt(self, folder: Path, evaluation: BestEvaluation | None) -> None:
        """Continue with ``evaluation``, whose weights are in ``folder``."""
        self.evaluation = evaluation
        if evaluation is not None:
            path = self._path(evaluation.step)
            (folder / path.name).replace(path)
        self.protect()

    @property
    def prefix(self) -> str | None:
        """How the names of the files of the present best evaluation begin, on all ranks."""
        return None if self.evaluation is None else _prefix(self.evaluation.step)

    def _write(self, model: nn.Module, step: int) -> None:
        tensors = {n: t.detach().to(CPU).contiguous() for n, t in model_tensors(model).items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_checkpoint(self._path(step), CheckpointFile(tensors, {"step": step}))
        except OSError as error:
            raise ExecutionError(
                f"the weights of the best evaluation cannot be written to {self._folder}: {error}",
                hint="free space on the disk, or remove task.evaluate_every",
            ) from error

    def _path(self, step: int) -> Path:
        return self._folder / f"{_prefix(step)}{self._rank}.safetensors"


def best_checkpoint(folder: Path, task: Task, rank: int = 0) -> BestCheckpoint | None:
    """The best checkpoint of a run of ``task``; ``None`` if its last weights count."""
    metric = task.best_metric
    return None if task.evaluate_every is None else BestCheckpoint(folder, metric or "loss", rank)


def _prefix(step: int) -> str:
    # Matches the pattern of checkpoints, so that they are removed and their space is counted.
    return f"checkpoint-best-{step}-rank"
