"""Fine-tune in plain torch under the strategy of this folder, with the loop of the trial.

``torchrun --standalone --nproc-per-node N train.py`` starts the N processes that the strategy
wants; how they share the work is in ``tuned/trial/distributed``.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

from autotune.export.templates.device import take_cores
from autotune.export.templates.evaluation import judge, print_summary
from autotune.export.templates.folder import open_folder
from autotune.export.templates.loop import fine_tune
from autotune.export.templates.metrics import Recorder
from autotune.export.templates.saving import save
from autotune.trial.effects.devices import init_device, init_process_group

HERE = Path(__file__).resolve().parent


def main() -> None:
    folder = open_folder(HERE)
    take_cores(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    device = init_device(folder.strategy)
    crew = init_process_group(folder.strategy, device)
    torch.manual_seed(folder.seed)
    recorder = Recorder(device, folder.seed)
    ready = fine_tune(folder, folder.training(device), crew, recorder)
    if crew.is_main_process:
        scores = judge(folder, ready.model, ready.precision, device)
        recorder.write(HERE, scores)
        save(ready.model, folder.tokenizer, HERE / "trained")
        print_summary(recorder.samples_per_second, scores)
    crew.destroy()


if __name__ == "__main__":
    main()
