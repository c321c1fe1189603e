"""The fine-tune of a folder in this process, in plain torch, whatever the folder's trainer."""

from __future__ import annotations

from pathlib import Path

import torch

from autotune.export.templates.device import take_cores
from autotune.export.templates.evaluation import judge
from autotune.export.templates.folder import open_folder
from autotune.export.templates.loop import fine_tune
from autotune.export.templates.metrics import Recorder
from autotune.export.templates.saving import save
from autotune.trial.distributed.process_group import SingleProcess
from autotune.trial.effects.devices import init_device


def run(directory: str, target: str) -> None:
    """Fine-tune as the folder says; leaves the model in its ``target`` and ``metrics.json``.

    Always one process: several share a batch, and so train the same model.
    """
    folder = open_folder(Path(directory))
    take_cores(folder.strategy, 0)
    # No GPU is hidden: a split model wants those that follow its own.
    device = init_device(folder.strategy)
    torch.manual_seed(folder.seed)
    recorder = Recorder(device, folder.seed)
    ready = fine_tune(folder, folder.training(device), SingleProcess(device), recorder)
    scores = judge(folder, ready.model, ready.precision, device)
    recorder.write(folder.path, scores)
    save(ready.model, folder.tokenizer, folder.path / target)
