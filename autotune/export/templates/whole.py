"""The fine-tune of a folder in this process, in plain torch, whatever the folder's trainer."""

from __future__ import annotations

from pathlib import Path

import torch

from autotune.export.templates.folder import open_folder
from autotune.export.templates.ground import settle
from autotune.export.templates.judging import judge
from autotune.export.templates.looping import fine_tune
from autotune.export.templates.recording import Recorder
from autotune.export.templates.saving import save
from autotune.trial.crew import Alone


def run(directory: str, target: str) -> None:
    """Fine-tune as the folder says; leaves the model in its ``target`` and ``metrics.json``.

    Always one process: several share a batch, and so train the same model.
    """
    folder = open_folder(Path(directory))
    device = settle(folder.strategy)
    torch.manual_seed(folder.seed)
    recorder = Recorder(device, folder.seed)
    ready = fine_tune(folder, folder.training(device), Alone(device), recorder)
    scores = judge(folder, ready.model, ready.precision, device)
    recorder.write(folder.path, scores)
    save(ready.model, folder.tokenizer, folder.path / target)
