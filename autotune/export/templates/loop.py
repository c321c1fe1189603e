"""Trains with the training loop of the trial, in one process or several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from autotune.export.templates.best_weights import BestWeights
from autotune.export.templates.checkpoint import save
from autotune.export.templates.device import pin_cores
from autotune.export.templates.evaluation import evaluate
from autotune.export.templates.folder import ExportFolder, open_folder
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.measure.energy import EnergyMeter
from autotune.trial.data.batching import Collator
from autotune.trial.devices import init_device
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess
from autotune.trial.plan import plan_training
from autotune.trial.state import TrainState
from autotune.trial.training import TrainingLoop, init_train_state


def fine_tune(
    folder: ExportFolder, collate: Collator, group: ProcessGroup, recorder: ThroughputRecorder
) -> TrainState:
    """Train for all steps, in every process of ``group``. Returns the state with the complete
    model: that of the best evaluation, if there are evaluations."""
    state = init_train_state(folder.strategy, folder.prepared, collate, folder.seed, group)
    plan = plan_training(folder.strategy, folder.task, collate, folder.seed)
    recorder.start(plan.steps)
    loop = TrainingLoop(state, replace(plan, rungs=frozenset()), EnergyMeter([]))
    best = BestWeights(folder, plan.evaluations, recorder, state.device, group)
    while not loop.is_finished:
        recorder.add(loop.run_window().window)
        recorder.measure_reference_if_due()
        if best.is_due(loop.step):
            best.evaluate(loop.step, state.unsharded().model, state.precision, state.model)
    best.restore(state.model)
    return state.unsharded()


def run(directory: str, target: str) -> None:
    """Fine-tune with the folder's strategy; write the model to ``target`` and ``metrics.json``.

    One process trains the same model as several, which share every batch.
    """
    folder = open_folder(Path(directory))
    pin_cores(folder.strategy, 0)
    # No GPU is hidden: a split model uses those after its own.
    device = init_device(folder.strategy)
    torch.manual_seed(folder.seed)
    recorder = ThroughputRecorder(device, folder.seed)
    state = fine_tune(folder, folder.train_collator(device), SingleProcess(device), recorder)
    scores = evaluate(folder, state.model, state.precision, device)
    recorder.write(folder.path, scores)
    save(state.model, folder.tokenizer, folder.path / target)
