"""The fine-tune of a folder in this process, in plain torch, whatever the folder's trainer."""

from __future__ import annotations

from pathlib import Path

from autotune.export.templates.building import build
from autotune.export.templates.folder import open_folder
from autotune.export.templates.ground import settle
from autotune.export.templates.judging import judge
from autotune.export.templates.looping import fine_tune, runnable
from autotune.export.templates.recording import Recorder
from autotune.export.templates.saving import save


def run(directory: str) -> None:
    """Fine-tune as the folder says; leaves ``trained/`` and ``metrics.json`` in it."""
    folder = open_folder(Path(directory))
    device = settle(folder.strategy)
    collate = folder.training(device)
    built, recorder = build(folder, collate), Recorder(device)
    fine_tune(folder, built, runnable(folder, built), collate, recorder)
    scores = judge(folder, built.model, built.precision, device)
    recorder.write(folder.path, scores)
    save(built.model, folder.tokenizer, folder.path / "trained")
