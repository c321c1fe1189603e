"""Fine-tune with DeepSpeed under the strategy of this folder.

``deepspeed train.py`` reads ``ds_config.json``: batch sizes, precision, ZeRO stage, offloading.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import deepspeed
import torch

from autotune.export.templates.best_weights import BestWeights
from autotune.export.templates.checkpoint import save
from autotune.export.templates.device import apply_host_settings, rank_device
from autotune.export.templates.evaluation import evaluate, print_summary
from autotune.export.templates.folder import open_folder
from autotune.export.templates.metrics import ThroughputRecorder
from autotune.levers.numerics import CUDA_GRAPHS, GRAPH_MODE
from autotune.trial.data.batching import chunks
from autotune.trial.effects.adapters import merge_adapters
from autotune.trial.effects.optimizers import build_grouped_optimizer
from autotune.trial.effects.parameter_groups import parameter_groups
from autotune.trial.effects.schedules import make_scheduler
from autotune.trial.loss import build_loss, output_logits
from autotune.trial.plan import plan_training
from autotune.trial.setup import build_model

HERE = Path(__file__).resolve().parent


def main() -> None:
    folder = open_folder(HERE)
    strategy = folder.strategy
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    apply_host_settings(strategy, local_rank)
    device = rank_device(str(strategy["device"]), local_rank)
    config = json.loads((HERE / "ds_config.json").read_text(encoding="utf-8"))
    deepspeed.init_distributed("nccl" if device.type == "cuda" else "gloo")
    rank, num_ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    torch.manual_seed(folder.seed)
    collate = folder.train_collator(device)
    setup = build_model(strategy, folder.prepared, collate, folder.seed)
    plan = plan_training(strategy, folder.task, collate, folder.seed)
    loss = build_loss(folder.prepared, float(strategy["label_smoothing"]))
    groups = parameter_groups(strategy, setup.model)
    client_optimizer = (
        {} if "optimizer" in config else {"optimizer": build_grouped_optimizer(strategy, groups)}
    )
    engine, _, _, _ = deepspeed.initialize(
        model=setup.model,
        model_parameters=groups,
        config=config,
        lr_scheduler=lambda optimizer: make_scheduler(strategy, optimizer, plan.steps),
        **client_optimizer,
    )
    if strategy["compile"]:
        graphs = {"mode": GRAPH_MODE} if strategy["compile"] == CUDA_GRAPHS else {}
        engine.compile(compile_kwargs={"dynamic": strategy["padding"] != "fixed", **graphs})
    recorder, batches = ThroughputRecorder(device, folder.seed + rank), plan.batches()
    engine.train()
    recorder.start(plan.steps)
    accumulation_steps = engine.gradient_accumulation_steps()
    best = BestWeights(folder, plan.evaluations, recorder, device)
    for step in range(1, plan.steps + 1):
        rows = next(batches)
        # All ranks must take part in a step: with fewer rows than ranks, each rank takes all.
        is_replicated = len(rows) < num_ranks
        local_rows = rows if is_replicated else rows[rank::num_ranks]
        # The engine averages over ranks and divides by the number of micro-batches.
        scale = (1 if is_replicated else num_ranks) * accumulation_steps
        weight = scale / collate.count_labels(rows)
        micro_batches = list(chunks(local_rows, config["train_micro_batch_size_per_gpu"]))
        for index, batch in enumerate(map(collate, micro_batches)):
            engine.set_gradient_accumulation_boundary(index == len(micro_batches) - 1)
            logits = output_logits(engine(**batch.inputs))
            engine.backward(loss(logits, batch.labels) * weight)
            engine.step()
        recorder.step(len(rows))
        if rank == 0 and best.is_due(step):
            best.evaluate(step, setup.model, setup.precision)
    if rank == 0:
        best.restore(setup.model)
        merge_adapters(setup.model)
        scores = evaluate(folder, setup.model, setup.precision, device)
        recorder.write(HERE, scores)
        save(setup.model, folder.tokenizer, HERE / "trained")
        print_summary(recorder.samples_per_second, scores)


if __name__ == "__main__":
    main()
