"""Fine-tune with Accelerate under the strategy of this folder.

``accelerate launch --config_file accelerate.yaml ... train.py``: ``accelerate.yaml`` sets the
number of processes, their devices and the mixed precision.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import Tensor

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
from autotune.trial.setup import ModelSetup, build_model
from autotune.trial.tasks.base import is_evaluated

HERE = Path(__file__).resolve().parent


def main() -> None:
    folder = open_folder(HERE)
    device = apply_device_settings(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    buckets = DistributedDataParallelKwargs(bucket_cap_mb=int(folder.strategy["ddp_bucket_mib"]))
    accelerator = Accelerator(step_scheduler_with_optimizer=False, kwargs_handlers=[buckets])
    set_seed(folder.seed)
    collate = folder.train_collator(device)
    setup = build_model(folder.strategy, folder.prepared, collate, folder.seed)
    recorder = ThroughputRecorder(device, folder.seed + accelerator.process_index)
    fine_tune(accelerator, folder, setup, collate, recorder)
    if accelerator.is_main_process:
        merge_adapters(setup.model)
        scores = evaluate(folder, setup.model, setup.precision, device)
        recorder.write(HERE, scores)
        save(setup.model, folder.tokenizer, HERE / "trained")
        print_summary(recorder.samples_per_second, scores)
    accelerator.end_training()


def fine_tune(
    accelerator: Accelerator,
    folder: ExportFolder,
    setup: ModelSetup,
    collate: Collator,
    recorder: ThroughputRecorder,
) -> None:
    """Train for all steps. The main process has the weights of the best evaluation then."""
    strategy = folder.strategy
    plan = plan_training(strategy, folder.task, collate, folder.seed)
    num_ranks = accelerator.num_processes
    loss = build_loss(folder.prepared, float(strategy["label_smoothing"]), setup.penalty)
    micro_batch_size = max(1, min(plan.micro_batch_size, plan.batch_size // num_ranks))
    batches = MicroBatches(folder, collate, plan.batch_size, micro_batch_size)
    inner_optimizer = optimizers.build_grouped_optimizer(
        strategy, parameter_groups(strategy, setup.model)
    )
    if setup.masks is not None:
        setup.masks.reapply_after_step(inner_optimizer)
    if setup.ranks is not None:
        setup.ranks.allocate_after_step(inner_optimizer, plan.steps)
    scheduler = make_scheduler(strategy, inner_optimizer, plan.steps)
    max_norm = float(strategy["gradient_clip"])
    model, optimizer, loader = accelerator.prepare(
        setup.model, inner_optimizer, make_loader(batches, collate)
    )
    model.train()
    best = BestWeights(folder, plan.evaluations, recorder, collate.device)
    recorder.start(plan.steps)
    accumulation_steps = max(1, plan.batch_size // (micro_batch_size * num_ranks))
    for step, micro_batches in enumerate(steps_of(loader, accumulation_steps, plan.steps)):
        num_labels = accelerator.reduce(
            sum(is_evaluated(batch["labels"]).sum() for batch in micro_batches)
        )
        for index, batch in enumerate(micro_batches):
            is_last = index == len(micro_batches) - 1
            with nullcontext() if is_last else accelerator.no_sync(model):
                labels = batch.pop("labels")
                losses = loss(output_logits(model(**batch)), labels)
                accelerator.backward(losses * num_ranks / num_labels)
        if max_norm and accelerator.mixed_precision == "fp16":
            accelerator.clip_grad_norm_(model.parameters(), max_norm)
        elif max_norm:
            optimizers.clip_for_step(inner_optimizer, model.parameters(), max_norm)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        recorder.step(batches.sizes[step])
        if accelerator.is_main_process and best.is_due(step + 1):
            best.evaluate(step + 1, setup.model, setup.precision)
    if accelerator.is_main_process:
        best.restore(setup.model)


def steps_of(
    loader: Iterable[dict[str, Tensor]], accumulation_steps: int, steps: int
) -> Iterator[list[dict[str, Any]]]:
    """The micro-batches of each optimizer step, epoch after epoch."""
    step = 0
    while step < steps:
        epoch = iter(loader)
        while step < steps and (micro_batches := list(islice(epoch, accumulation_steps))):
            yield micro_batches
            step += 1


if __name__ == "__main__":
    main()
