"""Fine-tune with Hugging Face's Trainer under the strategy of this folder.

``python train.py`` reads ``training_args.json``, which may be edited: batch size, epochs, rate and
all else that ``TrainingArguments`` knows is taken from there, the rest from ``strategy.json``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    HfArgumentParser,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from autotune.export.templates.building import Built, build
from autotune.export.templates.clipping import clip
from autotune.export.templates.data_loading import MicroBatches, loader, share_of_batch
from autotune.export.templates.device import apply_device_settings
from autotune.export.templates.evaluation import judge, print_summary
from autotune.export.templates.folder import Folder, open_folder
from autotune.export.templates.metrics import Recorder
from autotune.export.templates.saving import save

HERE = Path(__file__).resolve().parent


class TunedTrainer(Trainer):
    """Trainer with the strategy's batches, and with what its arguments have no word for."""

    def __init__(self, built: Built, batches: DataLoader[Any], **options: Any) -> None:
        super().__init__(built.model, compute_loss_func=share_of_batch, **options)
        self._masks, self._batches = built.masks, batches

    def get_train_dataloader(self) -> DataLoader[Any]:
        prepared: DataLoader[Any] = self.accelerator.prepare(self._batches)
        return prepared

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if self.args.optim == "sgd":  # for which there is no argument
            for group in optimizer.param_groups:
                group["momentum"] = 0.9
        if self._masks is not None:
            self._masks.reapply_after_step(optimizer)
        return optimizer

    def _clip_grad_norm(self, model: nn.Module) -> Tensor | None:
        if self.args.fp16:  # gradients are still to be unscaled
            return super()._clip_grad_norm(model)
        bare = getattr(self.optimizer, "optimizer", self.optimizer)
        return clip(bare, model.parameters(), self.args.max_grad_norm)


class Watch(TrainerCallback):
    """Tells the recorder of each step, and keeps frozen layers out of the backward pass."""

    def __init__(self, recorder: Recorder, batches: MicroBatches) -> None:
        self._recorder, self._batches = recorder, batches

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **also: Any
    ) -> None:
        also["model"].disable_input_require_grads()
        self._recorder.start(state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **also: Any
    ) -> None:
        self._recorder.step(self._batches.sizes[state.global_step - 1])


def main() -> None:
    folder = open_folder(HERE)
    device = apply_device_settings(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    arguments = read_arguments(folder)
    set_seed(folder.seed)
    collate = folder.training(device)
    built = build(folder, collate)
    micro_batch = arguments.per_device_train_batch_size
    whole_batch = micro_batch * arguments.gradient_accumulation_steps * arguments.world_size
    batches = MicroBatches(folder, collate, whole_batch, micro_batch)
    recorder = Recorder(device, folder.seed)
    trainer = TunedTrainer(
        built,
        loader(batches, collate),
        args=arguments,
        train_dataset=collate.split,
        callbacks=[Watch(recorder, batches)],
    )
    trainer.train()
    if trainer.is_world_process_zero():
        scores = judge(folder, built.model, built.precision, device)
        recorder.write(HERE, scores)
        save(built.model, folder.tokenizer, HERE / "trained")
        print_summary(recorder.samples_per_second, scores)


def read_arguments(folder: Folder) -> TrainingArguments:
    """``training_args.json``. One graph is compiled for all lengths, unless they are all alike."""
    dynamic = folder.strategy["padding"] != "fixed"
    os.environ["ACCELERATE_DYNAMO_USE_DYNAMIC"] = str(dynamic)
    parser = HfArgumentParser(TrainingArguments)  # type: ignore[arg-type]
    arguments: TrainingArguments
    (arguments,) = parser.parse_json_file(HERE / "training_args.json")
    arguments.output_dir = str(HERE / arguments.output_dir)
    return arguments


if __name__ == "__main__":
    main()
