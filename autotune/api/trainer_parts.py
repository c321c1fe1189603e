"""The parts of a user's ``Trainer``, and the Trainer that a strategy makes of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from transformers.trainer import DEFAULT_CALLBACKS, DEFAULT_PROGRESS_CALLBACK
from transformers.trainer_callback import PrinterCallback

from autotune.domain import Strategy, Study, Trial, Value
from autotune.domain.schedule import SETTINGS
from autotune.domain.training import PRUNING_SCORE_BATCH_SIZE, PRUNING_SCORE_EXAMPLES
from autotune.domain.trial import State
from autotune.errors import Unsupported, UsageError
from autotune.export.arguments import checkpointing_field
from autotune.export.hf_trainer import OPTIMIZERS, training_arguments
from autotune.trial.effects.freezing import freeze
from autotune.trial.effects.pruning import prune
from autotune.trial.encoder import encoder_of

CHECKPOINTING = checkpointing_field()

ARGUMENTS: Mapping[str, Sequence[str]] = {
    "batch_size": ("per_device_train_batch_size", "gradient_accumulation_steps"),
    "micro_batch_size": ("per_device_train_batch_size", "gradient_accumulation_steps"),
    "learning_rate": ("learning_rate",),
    "learning_rate_scaling": ("learning_rate",),
    "epochs": ("num_train_epochs",),
    "precision": ("bf16", "fp16", "tf32"),
    "optimizer": ("optim",),
    "lr_scheduler": ("lr_scheduler_type", "lr_scheduler_kwargs"),
    "warmup_ratio": ("warmup_steps", "lr_scheduler_type", "lr_scheduler_kwargs"),
    "weight_decay": ("weight_decay",),
    "gradient_clip": ("max_grad_norm",),
    "label_smoothing": ("label_smoothing_factor",),
    "compile": ("torch_compile", "torch_compile_backend", "torch_compile_mode"),
    "activation_checkpointing": (CHECKPOINTING, f"{CHECKPOINTING}_kwargs"),
    "device": ("use_cpu", "dataloader_pin_memory"),
    "padding": ("train_sampling_strategy",),
}
"""The fields of ``TrainingArguments`` that a lever sets."""

MODEL_LEVERS = ("freeze_layers", "pruning_ratio", "pruning_method", "pruning_score")
"""Levers that change the model before training."""

PROCESS_LEVERS = ("threads", "allocator", "pinning")
"""Levers that the worker process applies."""

LEVERS = (*ARGUMENTS, *MODEL_LEVERS, *PROCESS_LEVERS)
"""The levers that can be searched for a ``Trainer``."""


@dataclass(frozen=True)
class TrainerParts:
    """What a ``Trainer`` is made of. ``model`` has its initial weights."""

    trainer_class: type[Trainer]
    arguments: TrainingArguments
    options: Mapping[str, Any]
    model: nn.Module | None
    test_dataset: Any = None

    @classmethod
    def of_trainer(cls, trainer: Trainer, test_dataset: Any = None) -> TrainerParts:
        """The parts of ``trainer``, which has not trained yet.

        :raises UsageError: a part cannot be given to another Trainer.
        """
        if trainer.optimizer is not None or trainer.lr_scheduler is not None:
            raise UsageError(
                "the Trainer has an optimizer or a scheduler of its own",
                hint="pass optimizer_cls_and_kwargs, or leave the choice to TrainingArguments",
            )
        if trainer.state.global_step:
            raise UsageError("the Trainer has trained already", hint="build a new one")
        options = {
            "data_collator": trainer.data_collator,
            "train_dataset": trainer.train_dataset,
            "eval_dataset": trainer.eval_dataset,
            "processing_class": trainer.processing_class,
            "compute_metrics": trainer.compute_metrics,
            "compute_loss_func": trainer.compute_loss_func,
            "callbacks": _own_callbacks(trainer),
            "optimizer_cls_and_kwargs": trainer.optimizer_cls_and_kwargs,
            "preprocess_logits_for_metrics": trainer.preprocess_logits_for_metrics,
            "model_init": trainer.model_init,
        }
        options = {name: value for name, value in options.items() if value is not None}
        # A trial may not see the GPU on which Trainer has put the model.
        own: Any = trainer.model
        model = None if trainer.model_init is not None else copy.deepcopy(own).to("cpu")
        return cls(type(trainer), trainer.args, options, model, test_dataset)

    @property
    def has_input_ids(self) -> bool:
        """Whether lengths are known, by which examples can be grouped."""
        data = self.options["train_dataset"]
        return len(data) > 0 and isinstance(data[0], Mapping) and "input_ids" in data[0]

    @property
    def has_encoder(self) -> bool:
        """Whether the model can be pruned and frozen by layers."""
        model: Any = self.options["model_init"]() if self.model is None else self.model
        try:
            encoder_of(model)
        except (AttributeError, Unsupported):
            return False
        return True

    def baseline(self) -> dict[str, Value]:
        """The trainer's own settings of the levers."""
        arguments = self.arguments
        size = arguments.per_device_train_batch_size
        # One GPU does in several micro-batches what Trainer does on all GPUs at once.
        steps = arguments.gradient_accumulation_steps * max(1, arguments.n_gpu)
        names = {value: name for name, value in OPTIMIZERS.items()}
        precision = "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32"
        settings: dict[str, Value] = {
            "batch_size": size * steps,
            "micro_batch_size": "full" if steps == 1 else size,
            "learning_rate": float(arguments.learning_rate),
            "epochs": float(arguments.num_train_epochs),
            "precision": "tf32" if arguments.tf32 and precision == "fp32" else precision,
            "compile": bool(arguments.torch_compile),
            "activation_checkpointing": bool(getattr(arguments, CHECKPOINTING)),
            "device": str(arguments.device),
            "padding": "bucketed" if _groups_by_length(arguments) else "dynamic",
            "weight_decay": float(arguments.weight_decay),
            "gradient_clip": float(arguments.max_grad_norm),
            "label_smoothing": float(arguments.label_smoothing_factor),
        }
        if arguments.warmup_steps < 1:
            settings["warmup_ratio"] = float(arguments.warmup_steps)
        if (schedule := SETTINGS.get(_text(arguments.lr_scheduler_type))) is not None:
            settings["lr_scheduler"] = schedule
        optimizer = names.get(_text(arguments.optim))
        return settings if optimizer is None else {**settings, "optimizer": optimizer}

    def build(
        self, study: Study, strategy: Strategy, seed: int, folder: Path, **changes: Any
    ) -> Trainer:
        """The Trainer of ``strategy``. Levers at their setting in the study's baseline change
        nothing; ``changes`` are further arguments."""
        arguments = self._arguments(study, strategy, seed, folder, changes)
        set_seed(seed)
        options = dict(self.options)
        model_init = options.pop("model_init", None)
        model = copy.deepcopy(self.model) if model_init is None else model_init()
        trainer = self._make(model, arguments, options)
        self._apply_model_levers(trainer, strategy)
        return trainer

    def _make(
        self, model: nn.Module | None, arguments: TrainingArguments, options: Mapping[str, Any]
    ) -> Trainer:
        try:
            return self.trainer_class(model=model, args=arguments, **options)
        except TypeError as error:
            raise UsageError(
                f"{self.trainer_class.__name__} cannot be built again: {error}",
                hint="its __init__ has to take the arguments of Trainer",
            ) from error

    def _arguments(
        self,
        study: Study,
        strategy: Strategy,
        seed: int,
        folder: Path,
        changes: Mapping[str, Any],
    ) -> TrainingArguments:
        trial = Trial(0, State.RUNNING, strategy, seed)
        values = training_arguments(study, trial, len(self.options["train_dataset"]))
        for name in ("lr_scheduler_kwargs", "torch_compile_backend", "torch_compile_mode"):
            values.setdefault(name, None)
        values["train_sampling_strategy"] = (
            "group_by_length" if strategy["padding"] == "bucketed" else "random"
        )
        names = {
            field
            for lever, arguments in ARGUMENTS.items()
            if strategy[lever] != study.baseline[lever]
            for field in arguments
        }
        changed = {name: values[name] for name in names if name in values}
        valid_names = {field.name for field in fields(self.arguments) if field.init}
        # Without use_cpu, TrainingArguments refuses bf16 on a host that has no GPU.
        changed["use_cpu"] = strategy["device"] == "cpu"
        settings = {**changed, **changes, "seed": seed, "output_dir": str(folder)}
        arguments = replace(
            self.arguments,
            **{name: value for name, value in settings.items() if name in valid_names},
        )
        if arguments.n_gpu > 1:
            arguments._n_gpu = 1  # trials were measured on one, without DataParallel
        return arguments

    def _apply_model_levers(self, trainer: Trainer, strategy: Strategy) -> None:
        """Prune and freeze the model, in the order of a trial."""
        model: Any = trainer.model
        if (ratio := float(strategy["pruning_ratio"])) > 0:
            report = prune(
                model,
                ratio=ratio,
                method=str(strategy["pruning_method"]),
                score=str(strategy["pruning_score"]),
                batches=_scoring_batches(trainer),
            )
            if report.masks is not None:
                trainer.add_callback(_MaskCallback(report.masks.apply))
        if (layers := int(strategy["freeze_layers"])) > 0:
            freeze(model, layers)
        if strategy["precision"] == "bf16-pure":
            model.to(torch.bfloat16)


class _MaskCallback(TrainerCallback):
    """Keeps pruned weights at zero after every step."""

    def __init__(self, apply: Callable[[], None]) -> None:
        self._apply = apply

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._apply()


def _scoring_batches(trainer: Trainer) -> Iterator[dict[str, Any]]:
    """Batches of training examples on which pruning scores heads and neurons."""
    dataset: Any = trainer.train_dataset
    collate = trainer.data_collator
    count = min(PRUNING_SCORE_EXAMPLES, len(dataset))
    rows = iter(torch.randperm(len(dataset))[:count].tolist())
    while indices := list(islice(rows, PRUNING_SCORE_BATCH_SIZE)):
        batch = collate([dataset[index] for index in indices])
        yield trainer._prepare_inputs(batch)


def _own_callbacks(trainer: Trainer) -> list[TrainerCallback]:
    """The callbacks that the user added."""
    defaults = (
        *DEFAULT_CALLBACKS,
        DEFAULT_PROGRESS_CALLBACK,
        PrinterCallback,
        *INTEGRATION_TO_CALLBACK.values(),
    )
    return [c for c in trainer.callback_handler.callbacks if type(c) not in defaults]


def _groups_by_length(arguments: TrainingArguments) -> bool:
    return _text(arguments.train_sampling_strategy) == "group_by_length"


def _text(value: Any) -> str:
    """The value of an enum of transformers, or the text itself."""
    return str(getattr(value, "value", value))
