"""Fine-tunes an exported folder in this process, in plain torch, whatever the folder's trainer."""

from __future__ import annotations

from pathlib import Path

import torch

from autotune.export.templates.checkpoint import save
from autotune.export.templates.device import pin_cores
from autotune.export.templates.evaluation import evaluate
from autotune.export.templates.folder import open_folder
from autotune.export.templates.loop import fine_tune
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.trial.devices import init_device
from autotune.trial.distributed.process_group import SingleProcess


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
