"""Fine-tune with Hugging Face's Trainer under the strategy of this folder.

``python train.py`` reads ``training_args.json``, which can be edited: seed, batch size, epochs,
learning rate and other ``TrainingArguments``. The script stops for those that it does not use
(:data:`UNUSED_ARGUMENTS`). The rest comes from ``strategy.json``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
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

from autotune.domain import Strategy
from autotune.export.templates.checkpoint import save
from autotune.export.templates.data_loading import MicroBatches, make_loader, trainer_loss
from autotune.export.templates.device import apply_device_settings
from autotune.export.templates.evaluation import evaluate, print_summary, validation_scores
from autotune.export.templates.folder import ExportFolder, open_folder
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.trial.effects.adapters import merge_adapters
from autotune.trial.effects.optimizers import clip_for_step
from autotune.trial.effects.parameter_groups import parameter_groups
from autotune.trial.loss import Loss, build_loss
from autotune.trial.setup import ModelSetup, build_model

HERE = Path(__file__).resolve().parent


UNUSED_ARGUMENTS = {
    "use_cpu": "device", "data_seed": "seed", "train_sampling_strategy": "padding",
    "dataloader_drop_last": None, "dataloader_num_workers": None,
}  # fmt: skip
"""Arguments without effect, because the script loads the data and computes the loss itself, and
where ``strategy.json`` has the same setting."""


class TunedTrainer(Trainer):
    """Trainer with the scores of the trial, and the strategy's batches, masks, layer decay, SGD
    momentum and gradient clipping."""

    def __init__(
        self,
        strategy: Strategy,
        setup: ModelSetup,
        loader: DataLoader[Any],
        loss: Loss,
        validation_scores: Callable[[], dict[str, float]],
        **options: Any,
    ) -> None:
        super().__init__(setup.model, compute_loss_func=trainer_loss(loss), **options)
        self._strategy, self._setup, self._loader = strategy, setup, loader
        self._validation_scores = validation_scores

    def get_train_dataloader(self) -> DataLoader[Any]:
        loader: DataLoader[Any] = self.accelerator.prepare(self._loader)
        return loader

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Scores on the validation split, from which Trainer chooses the best checkpoint."""
        metrics = {f"eval_{name}": score for name, score in self._validation_scores().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        optimizer = self._layer_decayed_optimizer() or super().create_optimizer(model)
        if self.args.optim == "sgd":  # TrainingArguments has no momentum
            for group in optimizer.param_groups:
                group["momentum"] = 0.9
        if self._setup.masks is not None:
            self._setup.masks.reapply_after_step(optimizer)
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        if self._setup.ranks is not None:
            inner_optimizer: Any = getattr(self.optimizer, "optimizer", self.optimizer)
            self._setup.ranks.allocate_after_step(inner_optimizer, num_training_steps)
        return super().create_scheduler(num_training_steps, optimizer)

    def _layer_decayed_optimizer(self) -> torch.optim.Optimizer | None:
        """An optimizer with a learning rate for each layer, which no argument sets."""
        if self._strategy["layer_decay"] == 1 or self.optimizer is not None:
            return None
        arguments = self.args
        strategy = self._strategy.with_values(
            weight_decay=arguments.weight_decay,
            learning_rate=arguments.learning_rate,
            learning_rate_scaling="none",
        )
        optimizer_class, settings = self.get_optimizer_cls_and_kwargs(arguments)
        model: Any = self.model
        self.optimizer = optimizer_class(parameter_groups(strategy, model), **settings)
        return self.optimizer

    def _clip_grad_norm(self, model: nn.Module) -> Tensor | None:
        if self.args.fp16:  # Trainer unscales the gradients first
            return super()._clip_grad_norm(model)
        inner_optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        return clip_for_step(inner_optimizer, model.parameters(), self.args.max_grad_norm)


class ProgressCallback(TrainerCallback):
    """Reports each step to the recorder, and excludes frozen layers from the backward pass."""

    def __init__(self, recorder: ThroughputRecorder, batches: MicroBatches) -> None:
        self._recorder, self._batches = recorder, batches

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        kwargs["model"].disable_input_require_grads()
        self._recorder.start(state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._recorder.step(self._batches.sizes[state.global_step - 1])
        if control.should_evaluate or control.should_save:
            self._recorder.pause()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._recorder.resume()


def main() -> None:
    exported = open_folder(HERE)
    device = apply_device_settings(exported.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    arguments = read_arguments(exported)
    folder = replace(exported, seed=arguments.seed)
    set_seed(folder.seed)
    collate = folder.train_collator(device)
    setup = build_model(folder.strategy, folder.prepared, collate, folder.seed)
    micro_batch_size = arguments.per_device_train_batch_size
    accumulation_steps = arguments.gradient_accumulation_steps
    batch_size = micro_batch_size * accumulation_steps * arguments.world_size
    batches = MicroBatches(folder, collate, batch_size, micro_batch_size)
    recorder = ThroughputRecorder(device, folder.seed + arguments.process_index)
    trainer = TunedTrainer(
        folder.strategy,
        setup,
        make_loader(batches, collate),
        build_loss(folder.prepared, arguments.label_smoothing_factor, setup.penalty),
        lambda: validation_scores(folder, setup.model, setup.precision, device),
        args=arguments,
        train_dataset=collate.split,
        eval_dataset=folder.split("validation"),
        callbacks=[ProgressCallback(recorder, batches)],
    )
    # Accelerate allows tf32 in fp32 products of compiled models; trials do not.
    setup.precision.set_matmul_precision()
    trainer.train()
    recorder.evaluations = evaluations_of(trainer.state)
    recorder.best_step = trainer.state.best_global_step
    if trainer.is_world_process_zero():
        merge_adapters(setup.model)
        scores = evaluate(folder, setup.model, setup.precision, device)
        recorder.write(HERE, scores)
        save(setup.model, folder.tokenizer, HERE / "trained")
        print_summary(recorder.samples_per_second, scores)


def evaluations_of(state: TrainerState) -> list[dict[str, float]]:
    """The scores of each evaluation during training, with its step."""
    return [
        {"step": entry["step"]}
        | {k.removeprefix("eval_"): v for k, v in entry.items() if k.startswith("eval_")}
        for entry in state.log_history
        if any(name.startswith("eval_") for name in entry)
    ]


def read_arguments(folder: ExportFolder) -> TrainingArguments:
    """``training_args.json``. Variable lengths are compiled into one dynamic graph."""
    dynamic = folder.strategy["padding"] != "fixed"
    os.environ["ACCELERATE_DYNAMO_USE_DYNAMIC"] = str(dynamic)
    parser = HfArgumentParser(TrainingArguments)  # type: ignore[arg-type]
    arguments: TrainingArguments
    (arguments,) = parser.parse_json_file(HERE / "training_args.json")
    arguments.output_dir = str(HERE / arguments.output_dir)
    defaults = TrainingArguments(
        arguments.output_dir, use_cpu=folder.strategy["device"] == "cpu", report_to="none"
    )
    for name, setting in UNUSED_ARGUMENTS.items():
        if getattr(arguments, name, None) != getattr(defaults, name, None):
            instead = f"set {setting} in strategy.json" if setting else "this script cannot use it"
            raise SystemExit(f"training_args.json: {name} has no effect here: {instead}")
    precision = folder.strategy["precision"]
    for name in ("bf16", "fp16"):
        if getattr(arguments, name) != (precision == name):
            raise SystemExit(
                f"training_args.json: {name} differs from precision {precision!r} in "
                "strategy.json, with which the model is built and evaluated: change both"
            )
    return arguments


if __name__ == "__main__":
    main()
