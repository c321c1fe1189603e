"""Fine-tune with Lightning under the strategy of this folder.

``python train.py`` reads ``trainer_args.json``, the arguments of Lightning's Trainer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from autotune.export.templates.best_weights import BestWeights
from autotune.export.templates.checkpoint import save
from autotune.export.templates.data_loading import MicroBatches, make_loader
from autotune.export.templates.device import apply_device_settings
from autotune.export.templates.evaluation import evaluate, print_summary
from autotune.export.templates.folder import ExportFolder, open_folder
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.trial.data.batching import Collator
from autotune.trial.effects import optimizers
from autotune.trial.effects.adapters import merge_adapters
from autotune.trial.effects.parameter_groups import parameter_groups
from autotune.trial.effects.schedules import make_scheduler
from autotune.trial.loss import build_loss, output_logits
from autotune.trial.plan import plan_training
from autotune.trial.setup import ModelSetup, build_model, compile_model

HERE = Path(__file__).resolve().parent


class FineTuningModule(lightning.LightningModule):  # type: ignore[misc]
    """The model with the strategy's batches, optimizer and learning rate schedule."""

    def __init__(
        self, folder: ExportFolder, setup: ModelSetup, collate: Collator, batches: MicroBatches
    ) -> None:
        super().__init__()
        self.model = setup.model
        self._forward = compile_model(folder.strategy, setup.model)
        self._strategy, self._masks, self._ranks = folder.strategy, setup.masks, setup.ranks
        self._batches, self._collate = batches, collate
        smoothing = float(folder.strategy["label_smoothing"])
        self._loss = build_loss(folder.prepared, smoothing, setup.penalty)

    def train_dataloader(self) -> DataLoader[Any]:
        return make_loader(self._batches, self._collate, with_num_labels=True)

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """A micro-batch's contribution to the mean loss of its global batch, times the number of
        micro-batches, by which Lightning divides."""
        labels, num_labels = batch.pop("labels"), batch.pop("num_labels")
        loss = self._loss(output_logits(self._forward(**batch)), labels)
        return loss * self.trainer.accumulate_grad_batches / num_labels

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self._strategy, self.model)
        optimizer = optimizers.build_grouped_optimizer(self._strategy, groups)
        if self._masks is not None:
            self._masks.reapply_after_step(optimizer)
        steps = int(self.trainer.estimated_stepping_batches)
        if self._ranks is not None:
            self._ranks.allocate_after_step(optimizer, steps)
        scheduler = make_scheduler(self._strategy, optimizer, steps)
        schedule = {"scheduler": scheduler, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if gradient_clip_val:
            inner_optimizer = getattr(optimizer, "optimizer", optimizer)
            max_norm = float(gradient_clip_val)
            optimizers.clip_for_step(inner_optimizer, self.model.parameters(), max_norm)


class ProgressCallback(lightning.Callback):  # type: ignore[misc]
    """Reports each optimizer step to the recorder, and evaluates the model where it is due."""

    def __init__(
        self,
        recorder: ThroughputRecorder,
        batches: MicroBatches,
        setup: ModelSetup,
        best: BestWeights,
    ) -> None:
        self._recorder, self._batches, self._steps = recorder, batches, 0
        self._setup, self._best = setup, best

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == 0 and batch_idx == 0:
            self._recorder.start(int(trainer.estimated_stepping_batches))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self._steps:
            self._recorder.step(self._batches.sizes[self._steps])
            self._steps = trainer.global_step
            if self._best.is_due(self._steps):
                self._best.evaluate(self._steps, self._setup.model, self._setup.precision)


def main() -> None:
    folder = open_folder(HERE)
    device = apply_device_settings(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    arguments = json.loads((HERE / "trainer_args.json").read_text(encoding="utf-8"))
    lightning.seed_everything(folder.seed, verbose=False)
    collate = folder.train_collator(device)
    setup = build_model(folder.strategy, folder.prepared, collate, folder.seed)
    batch_size = int(folder.strategy["batch_size"])
    micro_batch_size = batch_size // arguments["accumulate_grad_batches"]
    batches = MicroBatches(folder, collate, batch_size, micro_batch_size)
    recorder = ThroughputRecorder(device, folder.seed)
    module = FineTuningModule(folder, setup, collate, batches)
    module.train()  # Lightning keeps the mode, and models are loaded in eval mode
    plan = plan_training(folder.strategy, folder.task, collate, folder.seed)
    best = BestWeights(folder, plan.evaluations, recorder, device)
    progress = ProgressCallback(recorder, batches, setup, best)
    trainer = lightning.Trainer(**arguments, default_root_dir=HERE, callbacks=[progress])
    trainer.fit(module)
    model: torch.nn.Module = setup.model
    model.to(device)  # at its end, Lightning moves the model to the CPU
    best.restore(setup.model)
    merge_adapters(setup.model)
    scores = evaluate(folder, setup.model, setup.precision, device)
    recorder.write(HERE, scores)
    save(setup.model, folder.tokenizer, HERE / "trained")
    print_summary(recorder.samples_per_second, scores)


if __name__ == "__main__":
    main()
