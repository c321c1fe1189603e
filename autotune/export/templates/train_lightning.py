"""Fine-tune with Lightning under the strategy of this folder.

``python train.py`` reads ``trainer_args.json``, the arguments of Lightning's Trainer.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import lightning
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import get_linear_schedule_with_warmup

from autotune.export.templates.building import Built, build, runnable
from autotune.export.templates.clipping import clip
from autotune.export.templates.data_loading import MicroBatches, loader, summed_loss
from autotune.export.templates.device import apply_device_settings
from autotune.export.templates.evaluation import judge, print_summary
from autotune.export.templates.folder import Folder, open_folder
from autotune.export.templates.metrics import Recorder
from autotune.export.templates.saving import save
from autotune.trial.data.batching import Collator
from autotune.trial.effects import optimizers

HERE = Path(__file__).resolve().parent


class Tuned(lightning.LightningModule):  # type: ignore[misc]
    """The model with the strategy's batches, optimizer and schedule."""

    def __init__(
        self, folder: Folder, built: Built, collate: Collator, batches: MicroBatches
    ) -> None:
        super().__init__()
        self.model = built.model
        self._run = runnable(folder, built.model)
        self._folder, self._masks = folder, built.masks
        self._batches, self._collate = batches, collate

    def train_dataloader(self) -> DataLoader[Any]:
        return loader(self._batches, self._collate, judged=True)

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        """A micro-batch's share of the mean loss of its global batch. Lightning divides by the
        number of micro-batches, so the share is multiplied by it."""
        labels, judged = batch.pop("labels"), batch.pop("judged")
        loss = summed_loss(self._run(**batch).logits, labels)
        return loss * self.trainer.accumulate_grad_batches / judged

    def configure_optimizers(self) -> Any:
        strategy = self._folder.strategy
        rate = optimizers.peak_rate(strategy)
        optimizer = optimizers.build(str(strategy["optimizer"]), self.model, rate)
        if self._masks is not None:
            self._masks.reapply_after_step(optimizer)
        steps = int(self.trainer.estimated_stepping_batches)
        decay = get_linear_schedule_with_warmup(optimizer, 0, steps)
        schedule = {"scheduler": decay, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if gradient_clip_val:
            bare = getattr(optimizer, "optimizer", optimizer)
            clip(bare, self.model.parameters(), float(gradient_clip_val))


class Watch(lightning.Callback):  # type: ignore[misc]
    """Tells the recorder of each optimizer step."""

    def __init__(self, recorder: Recorder, batches: MicroBatches) -> None:
        self._recorder, self._batches, self._seen = recorder, batches, 0

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == 0 and batch_idx == 0:
            self._recorder.start(int(trainer.estimated_stepping_batches))

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step > self._seen:
            self._recorder.step(self._batches.sizes[self._seen])
            self._seen = trainer.global_step


def main() -> None:
    folder = open_folder(HERE)
    device = apply_device_settings(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    given = json.loads((HERE / "trainer_args.json").read_text(encoding="utf-8"))
    lightning.seed_everything(folder.seed, verbose=False)
    collate = folder.training(device)
    built = build(folder, collate)
    whole_batch = int(folder.strategy["batch_size"])
    micro_batch = whole_batch // given["accumulate_grad_batches"]
    batches = MicroBatches(folder, collate, whole_batch, micro_batch)
    recorder = Recorder(device, folder.seed)
    module = Tuned(folder, built, collate, batches)
    module.train()  # Lightning keeps the mode that it finds, and models are loaded for inference
    trainer = lightning.Trainer(
        **given, default_root_dir=HERE, callbacks=[Watch(recorder, batches)]
    )
    trainer.fit(module)
    scores = judge(folder, built.model, built.precision, device)
    recorder.write(HERE, scores)
    save(built.model, folder.tokenizer, HERE / "trained")
    print_summary(recorder.samples_per_second, scores)


if __name__ == "__main__":
    main()
