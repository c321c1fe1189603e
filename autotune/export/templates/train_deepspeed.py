"""Fine-tune with DeepSpeed under the strategy of this folder.

``deepspeed train.py`` reads ``ds_config.json``: batch sizes, arithmetic, ZeRO stage, offload.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import deepspeed
import torch
from transformers import get_linear_schedule_with_warmup

from autotune.export.templates.building import build
from autotune.export.templates.data_loading import labels_of, summed_loss
from autotune.export.templates.device import apply_device_settings
from autotune.export.templates.evaluation import judge, print_summary
from autotune.export.templates.folder import open_folder
from autotune.export.templates.metrics import Recorder
from autotune.export.templates.saving import save
from autotune.trial.data.batching import chunks
from autotune.trial.effects import optimizers
from autotune.trial.plan import schedule

HERE = Path(__file__).resolve().parent


def main() -> None:
    folder = open_folder(HERE)
    device = apply_device_settings(folder.strategy, int(os.environ.get("LOCAL_RANK", "0")))
    config = json.loads((HERE / "ds_config.json").read_text(encoding="utf-8"))
    deepspeed.init_distributed("nccl" if device.type == "cuda" else "gloo")
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    collate = folder.training(device)
    built = build(folder, collate)
    plan = schedule(folder.strategy, folder.task, collate, folder.seed)
    rate = optimizers.peak_rate(folder.strategy)
    trained = [p for p in built.model.parameters() if p.requires_grad]
    own = {} if "optimizer" in config else {
        "optimizer": optimizers.build(str(folder.strategy["optimizer"]), built.model, rate)
    }  # fmt: skip
    engine, _, _, _ = deepspeed.initialize(
        model=built.model,
        model_parameters=trained,
        config=config,
        lr_scheduler=lambda optimizer: get_linear_schedule_with_warmup(optimizer, 0, plan.steps),
        **own,
    )
    if folder.strategy["compile"]:
        engine.compile(compile_kwargs={"dynamic": folder.strategy["padding"] != "fixed"})
    recorder, batches = Recorder(device, folder.seed), plan.batches()
    engine.train()
    recorder.start(plan.steps)
    accumulation = engine.gradient_accumulation_steps()
    for _ in range(plan.steps):
        rows = next(batches)
        # All ranks must take part: where there are too few rows to share, each takes them all.
        few = len(rows) < ranks
        mine = rows if few else rows[rank::ranks]
        # The engine averages over ranks, and divides by the micro-batches of a whole batch.
        weight = (1 if few else ranks) * accumulation / labels_of(collate.split, rows)
        pieces = list(chunks(mine, config["train_micro_batch_size_per_gpu"]))
        for place, part in enumerate(map(collate, pieces)):
            engine.set_gradient_accumulation_boundary(place == len(pieces) - 1)
            engine.backward(summed_loss(engine(**part.inputs).logits, part.labels) * weight)
            engine.step()
        recorder.step(len(rows))
    if rank == 0:
        scores = judge(folder, built.model, built.precision, device)
        recorder.write(HERE, scores)
        save(built.model, folder.tokenizer, HERE / "trained")
        print_summary(recorder.samples_per_second, scores)


if __name__ == "__main__":
    main()
