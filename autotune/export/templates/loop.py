"""Trains with the training loop of the trial, in one process or several."""

from __future__ import annotations

from dataclasses import replace

from autotune.export.templates.folder import ExportFolder
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.measure.energy import EnergyMeter
from autotune.trial.data.batching import Collator
from autotune.trial.distributed.process_group import ProcessGroup
from autotune.trial.plan import plan_training
from autotune.trial.state import TrainState
from autotune.trial.training import TrainingLoop, init_train_state


def fine_tune(
    folder: ExportFolder, collate: Collator, group: ProcessGroup, recorder: ThroughputRecorder
) -> TrainState:
    """Train for all steps, in every process of ``group``. Returns the state with the complete
    model."""
    state = init_train_state(folder.strategy, folder.prepared, collate, folder.seed, group)
    plan = plan_training(folder.strategy, folder.task, collate, folder.seed)
    recorder.start(plan.steps)
    loop = TrainingLoop(state, replace(plan, rungs=frozenset()), EnergyMeter([]))
    while not loop.is_finished:
        recorder.add(loop.run_window().window)
        recorder.measure_reference_if_due()
    return state.unsharded()
