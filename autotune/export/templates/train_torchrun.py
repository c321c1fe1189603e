"""Fine-tune in plain torch with the strategy of this folder and the training loop of the trial.

``torchrun --standalone --nproc-per-node N train.py`` starts N processes, ``python train.py`` one.
``tuned/trial/distributed`` distributes the model over them.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from autotune.export.templates.checkpoint import save
from autotune.export.templates.device import pin_cores
from autotune.export.templates.evaluation import evaluate, print_summary
from autotune.export.templates.folder import open_folder
from autotune.export.templates.loop import fine_tune
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.trial.devices import init_device, init_process_group

HERE = Path(__file__).resolve().parent

WAIT_SECONDS = 24 * 3600
"""A rank that waits longer for the others ends with an error."""


def main() -> None:
    folder = open_folder(HERE)
    pin_cores(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    device = init_device(folder.strategy)
    # Others wait while the first rank evaluates and saves.
    os.environ.setdefault("COLLECTIVE_TIMEOUT_SECONDS", str(WAIT_SECONDS))
    group = init_process_group(folder.strategy, device)
    torch.manual_seed(folder.seed)
    recorder = ThroughputRecorder(device, folder.seed + group.data_rank)
    state = fine_tune(folder, folder.train_collator(device), group, recorder)
    if group.is_main_process:
        scores = evaluate(folder, state.model, state.precision, device)
        recorder.write(HERE, scores)
        save(state.model, folder.tokenizer, HERE / "trained")
        print_summary(recorder.samples_per_second, scores)
    group.destroy()


if __name__ == "__main__":
    main()
