"""The loop of the trial itself, in one process or several."""

from __future__ import annotations

from dataclasses import replace

from autotune.export.templates.folder import Folder
from autotune.export.templates.metrics import Recorder
from autotune.measure.energy import EnergyMeter
from autotune.trial.data.batching import Collator
from autotune.trial.distributed.process_group import ProcessGroup, TrainState
from autotune.trial.plan import schedule
from autotune.trial.setup import apply_strategy
from autotune.trial.training import train


def fine_tune(
    folder: Folder, collate: Collator, crew: ProcessGroup, recorder: Recorder
) -> TrainState:
    """Train for all steps; every process of ``crew`` takes its part. Returns the model, whole."""
    ready = apply_strategy(folder.strategy, folder.prepared, collate, folder.seed, crew)
    plan = schedule(folder.strategy, folder.task, collate, folder.seed)
    recorder.start(plan.steps)
    for progress in train(ready, replace(plan, rungs=frozenset()), EnergyMeter([])):
        recorder.add(progress.window)
        recorder.refer()
    return ready.unsharded()
