"""Fine-tune with Accelerate under the strategy of this folder.

``accelerate launch --config_file accelerate.yaml ... train.py``: how many processes, on what and in
which arithmetic is said by ``accelerate.yaml``.
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
from transformers import get_linear_schedule_with_warmup

from autotune.export.templates.building import Built, build
from autotune.export.templates.clipping import MAX_GRADIENT_NORM, clip
from autotune.export.templates.data_loading import MicroBatches, loader, summed_loss
from autotune.export.templates.device import apply_device_settings
from autotune.export.templates.evaluation import judge, print_summary
from autotune.export.templates.folder import Folder, open_folder
from autotune.export.templates.metrics import Recorder
from autotune.export.templates.saving import save
from autotune.trial.data.batching import Collator
from autotune.trial.effects import optimizers
from autotune.trial.plan import schedule
from autotune.trial.tasks.base import IGNORED

HERE = Path(__file__).resolve().parent


def main() -> None:
    folder = open_folder(HERE)
    device = apply_device_settings(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    buckets = DistributedDataParallelKwargs(bucket_cap_mb=int(folder.strategy["ddp_bucket_mib"]))
    accelerator = Accelerator(step_scheduler_with_optimizer=False, kwargs_handlers=[buckets])
    set_seed(folder.seed)
    collate = folder.training(device)
    built = build(folder, collate)
    recorder = Recorder(device, folder.seed)
    fine_tune(accelerator, folder, built, collate, recorder)
    if accelerator.is_main_process:
        scores = judge(folder, built.model, built.precision, device)
        recorder.write(HERE, scores)
        save(built.model, folder.tokenizer, HERE / "trained")
        print_summary(recorder.samples_per_second, scores)
    accelerator.end_training()


def fine_tune(
    accelerator: Accelerator, folder: Folder, built: Built, collate: Collator, recorder: Recorder
) -> None:
    """Train for all steps."""
    strategy = folder.strategy
    plan = schedule(strategy, folder.task, collate, folder.seed)
    ranks = accelerator.num_processes
    micro = max(1, min(plan.micro_batch_size, plan.batch_size // ranks))
    batches = MicroBatches(folder, collate, plan.batch_size, micro)
    rate = optimizers.peak_rate(strategy)
    bare = optimizers.build(str(strategy["optimizer"]), built.model, rate)
    if built.masks is not None:
        built.masks.reapply_after_step(bare)
    decay = get_linear_schedule_with_warmup(bare, 0, plan.steps)
    model, optimizer, feed = accelerator.prepare(built.model, bare, loader(batches, collate))
    model.train()
    recorder.start(plan.steps)
    accumulation = max(1, plan.batch_size // (micro * ranks))
    for step, parts in enumerate(steps_of(feed, accumulation, plan.steps)):
        judged = accelerator.reduce(sum((part["labels"] != IGNORED).sum() for part in parts))
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            with nullcontext() if last else accelerator.no_sync(model):
                labels = part.pop("labels")
                loss = summed_loss(model(**part).logits, labels) * ranks / judged
                accelerator.backward(loss)
        if accelerator.mixed_precision == "fp16":
            accelerator.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        else:
            clip(bare, model.parameters())
        optimizer.step()
        decay.step()
        optimizer.zero_grad()
        recorder.step(batches.sizes[step])


def steps_of(
    feed: Iterable[dict[str, Tensor]], size: int, steps: int
) -> Iterator[list[dict[str, Any]]]:
    """The micro-batches of each optimizer step, epoch after epoch."""
    done = 0
    while done < steps:
        micro_batches = iter(feed)
        while done < steps and (parts := list(islice(micro_batches, size))):
            yield parts
            done += 1


if __name__ == "__main__":
    main()
