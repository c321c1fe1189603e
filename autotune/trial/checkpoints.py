"""The checkpoints of a training run, from which it continues after it was paused or killed.

A checkpoint is written at the end of the profile phase and at rungs, where it is cheap compared
with the training since the last one. A run that continues has the losses and scores of a run that
was never interrupted.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from autotune.domain import Job, Phase, TrialResult
from autotune.domain.host import GIB, MIB
from autotune.domain.strategy import digest
from autotune.domain.text import first_line
from autotune.measure import memory
from autotune.measure.clock import Window
from autotune.trial.best_checkpoint import BestCheckpoint, BestEvaluation
from autotune.trial.checkpoint_file import CheckpointFile, read_checkpoint, write_checkpoint
from autotune.trial.checkpoint_state import (
    StateMismatch,
    capture_state,
    require_match,
    restore_state,
)
from autotune.trial.distributed.process_group import ProcessGroup
from autotune.trial.job_files import CHECKPOINTS, remove_checkpoints
from autotune.trial.recorder import TrialRecorder
from autotune.trial.state import TrainState

MAX_WRITE_SHARE = 0.05
"""Writing may take at most this share of the training time since the last checkpoint."""

ASSUMED_BYTES_PER_SECOND = 200e6
"""The speed of writing, until it has been measured. A slow disk: a first checkpoint that is too
early would disturb the trial."""

MIN_FREE_GIB = 2.0
"""Disk space that checkpoints leave free."""

PROFILE_METRIC = "train_samples_per_second"
"""A metric that the profile phase measures."""

KIND = "checkpoint"
"""Kind of the events that checkpoints leave in the log of a trial."""


@dataclass(frozen=True)
class RunRecord:
    """What a training run has recorded when a checkpoint is written, and in which ``trial``.

    ``seconds`` are those of setting up the model. ``result`` has the measurements of the profile
    phase, the learning curve and the events. ``restart_overhead``: seconds of warm-up after earlier
    restarts. ``reference_at``: second of training at which the reference workload was timed last.
    ``best`` is the best evaluation so far, with ``task.evaluate_every``.
    """

    trial: int
    step: int
    examples: int
    setup_seconds: float
    windows: tuple[Window, ...]
    restart_overhead: float
    reference_seconds: tuple[float, ...]
    reference_warmup: tuple[float, ...]
    reference_at: float
    joules: float
    result: TrialResult
    best: BestEvaluation | None = None


@cache
def _adapter() -> TypeAdapter[RunRecord]:
    return TypeAdapter(RunRecord)


class Checkpoints:
    """Writes checkpoints of ``state`` to the folder of ``job``, and reads those of earlier runs.

    Every rank writes its own part. ``data_digest`` is a hash of the content of the data: a
    checkpoint of other data, another strategy or another version of torch is not used. ``best`` has
    the weights of the best evaluation, without which a run cannot continue.
    """

    def __init__(
        self,
        job: Job,
        state: TrainState,
        recorder: TrialRecorder,
        data_digest: str | None,
        best: BestCheckpoint | None = None,
    ) -> None:
        self._job, self._state, self._recorder = job, state, recorder
        self.best = best
        self._group: ProcessGroup = state.group
        self._folder = Path(job.directory)
        self._identity = _identity(job, data_digest)
        self._write_seconds = 3 * _weight_bytes(state) / ASSUMED_BYTES_PER_SECOND
        self._obstacle = None if job.limits.checkpoint_gib > 0 else "limits.checkpoint_gib is 0"

    def restore(self) -> RunRecord | None:
        """Set the state to that of the newest usable checkpoint; return what had been recorded
        then, or ``None`` if there is none. It becomes a checkpoint of this trial."""
        for path in self._candidates():
            with memory.excluded_from_peak():
                checkpoint = None if path is None else read_checkpoint(path)
                record = None if checkpoint is None else self._usable_record(checkpoint)
                if path is not None and record is not None and not self._has_best(path, record):
                    record = None
                if not self._all(record is not None):
                    continue
                assert checkpoint is not None and record is not None and path is not None
                restore_state(self._state, checkpoint.tensors, checkpoint.document["state"])
            self._folder.mkdir(parents=True, exist_ok=True)
            if self.best is not None:
                self.best.adopt(path.parent, record.best)
            path.replace(self._folder / path.name)
            return record
        return None

    @property
    def trial(self) -> int:
        """The number of the trial that writes."""
        return self._job.trial

    def is_due(self, seconds: float) -> bool:
        """Whether writing a checkpoint is cheap compared with ``seconds``, the training time since
        the last one. Collective: the same in all processes."""
        is_cheap = self._write_seconds <= MAX_WRITE_SHARE * seconds
        own = is_cheap and self._obstacle is None and self._group.is_main_process
        return bool(self._group.all_reduce(np.array([int(own)]))[0])

    def write(self, record: RunRecord) -> bool:
        """Write a checkpoint and remove the ones before; return whether it was written. None is
        written before the end of the profile phase."""
        if not self._has_profile(self._recorder.measurements):
            return False
        start = time.perf_counter()
        path = self._folder / f"{_prefix(record.step)}{self._rank}.safetensors"
        try:
            with memory.excluded_from_peak():
                size = self._write(path, record)
            note = None
        except (OSError, StateMismatch) as error:
            note = str(error)
        if not self._all(note is None):
            path.unlink(missing_ok=True)
            self._obstacle = note or "another rank could not write its part"
            self._recorder.add_event(KIND, f"not written: {self._obstacle}")
            return False
        self._write_seconds = time.perf_counter() - start
        keep = [_prefix(record.step)]
        if self.best is not None and self.best.prefix is not None:
            self.best.protect()
            keep.append(self.best.prefix)
        for folder in (self._folder, *map(Path, self._job.continues)):
            remove_checkpoints(folder, keep=keep if folder == self._folder else ())
        self._recorder.add_event(
            KIND,
            f"written after step {record.step}: {size / MIB:.0f} MiB in "
            f"{self._write_seconds:.2f} s",
        )
        return True

    def _write(self, path: Path, record: RunRecord) -> int:
        """Write this rank's part; return its bytes."""
        if self._obstacle is not None:
            raise OSError(self._obstacle)
        tensors, state = capture_state(self._state)
        document = {
            "identity": self._identity,
            "record": _adapter().dump_python(record, mode="json"),
            "state": state,
        }
        checkpoint = CheckpointFile(tensors, document)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._require_space(checkpoint.size)
        write_checkpoint(path, checkpoint)
        return checkpoint.size

    def _require_space(self, size: int) -> None:
        """Raise :class:`OSError` if ``size`` more bytes are more than the study's checkpoints may
        have, or leave too little free space on the disk."""
        limit = self._job.limits.checkpoint_gib
        others = (
            p for p in self._folder.parent.glob(f"*/{CHECKPOINTS}") if p.parent != self._folder
        )
        used = sum(path.stat().st_size for path in others)
        if used + size > limit * GIB:
            raise OSError(
                f"the study's checkpoints would take more than {limit:g} GiB "
                "(limits.checkpoint_gib)"
            )
        if shutil.disk_usage(self._folder).free - size < MIN_FREE_GIB * GIB:
            raise OSError(f"less than {MIN_FREE_GIB:g} GiB of the disk would be left free")

    def _usable_record(self, checkpoint: CheckpointFile) -> RunRecord | None:
        """The record of a checkpoint that fits this trial's model; ``None`` if it does not."""
        document = checkpoint.document
        try:
            if document["identity"] != self._identity:
                return None
            require_match(self._state, checkpoint.tensors)
            record = _adapter().validate_python(document["record"])
            return record if self._has_profile(record.result.measurements) else None
        except (KeyError, ValidationError, StateMismatch) as error:
            self._recorder.add_event(KIND, f"not used: {first_line(error)}")
            return None

    def _has_best(self, path: Path, record: RunRecord) -> bool:
        """Whether the weights of the best evaluation of ``record`` are next to its checkpoint."""
        return self.best is None or self.best.has_file(path.parent, record.best)

    def _candidates(self) -> Iterator[Path | None]:
        """This rank's part of each checkpoint that rank 0 has, the newest first; ``None`` where
        this rank does not have it. Collective: all ranks iterate over the same checkpoints."""
        folders = (self._folder, *map(Path, self._job.continues))
        own = {
            (step, -index): path
            for index, folder in enumerate(folders)
            for path in folder.glob(f"checkpoint-*-rank{self._rank}.safetensors")
            if (step := _step(path)) is not None
        }
        mine = sorted(own, reverse=True) if self._group.is_main_process else []
        count = int(self._group.all_reduce(np.array([len(mine)]))[0])
        keys = np.array(mine or [(0, 0)] * count, np.int64).reshape(count, 2)
        for step, index in self._group.all_reduce(keys).tolist():
            yield own.get((step, index))

    def _has_profile(self, measurements: Collection[str]) -> bool:
        return Phase.PROFILE not in self._job.phases or PROFILE_METRIC in measurements

    @property
    def _rank(self) -> int:
        return self._group.rank

    def _all(self, flag: bool) -> bool:
        """Whether ``flag`` is true in all processes."""
        return int(self._group.all_reduce(np.array([int(not flag)]))[0]) == 0


def _prefix(step: int) -> str:
    return f"checkpoint-{step}-rank"


def _step(path: Path) -> int | None:
    step = path.name.split("-")[1]
    return int(step) if step.isdecimal() else None


def _weight_bytes(state: TrainState) -> int:
    return sum(weight.numel() * weight.element_size() for weight in state.model.parameters())


def _identity(job: Job, data_digest: str | None) -> str:
    """A hash of what the figures of a training run depend on. Settings of the task that a later
    version adds do not change it where they have their defaults."""
    task = {
        field.name: repr(value)
        for field in fields(job.task)
        if (value := getattr(job.task, field.name)) != field.default
    }
    training = [job.strategy.key, job.seed, task, job.on_test_split, *job.plugins]
    return digest([*training, data_digest, torch.__version__])
