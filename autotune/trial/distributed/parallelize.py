"""The model of a trial, spread over its ranks in one ordered function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.trial.data.batching import Indices, chunks
from autotune.trial.distributed import ddp, fsdp, gradients, tensor
from autotune.trial.distributed.collectives import DistributedGroup
from autotune.trial.distributed.process_group import TrainState
from autotune.trial.distributed.weights import by_mesh, full_state, materialize, meta_copy
from autotune.trial.effects import optimizers
from autotune.trial.effects.device_map import speed
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.plan import TrainingPlan
from autotune.trial.training import summed_loss


def parallelize(
    strategy: Strategy,
    model: PreTrainedModel,
    run: Callable[..., Any],
    precision: Precision,
    masks: Masks | None,
    group: DistributedGroup,
) -> TrainState:
    """Spread ``model``, to which the strategy has been applied, over the ranks of ``group``."""
    if group.layout.model_kind == "pp":
        from autotune.trial.distributed.pipeline import build_pipeline

        return build_pipeline(strategy, model, precision, masks, group)
    bones = meta_copy(model)
    # Tensor parallelism cuts within layers; what it leaves, FSDP cuts again.
    if group.layout.model_kind == "tp":
        sequence = strategy["sequence_parallel"] is True
        tensor.split(model, group.mesh["model"], by_sequence=sequence)
    if group.layout.data_kind == "fsdp":
        reshard = strategy["fsdp_reshard"] is True
        offload = strategy["offload"] == "parameters"
        fsdp.shard(
            model, group.mesh["data"], precision=precision.name, reshard=reshard, offload=offload
        )
    if masks is not None:
        masks.follow_weights()
    bucket_mib = int(strategy["ddp_bucket_mib"])
    # DDP knows nothing of weights in pieces; beside tensor parallelism gradients are added up here.
    # So they are where a CPU and a GPU work side by side, each on what it can do in the time.
    if strategy["placement"] == "mixed":
        with precision.autocast():
            group.set_rank_weights(speed(model))
    elif group.layout.data_kind in ("ddp", "zero1") and group.layout.model == 1:
        run = ddp.replicate(run, group, bucket_mib)
    rate = optimizers.peak_rate(strategy)
    name = str(strategy["optimizer"])
    if group.layout.data_kind == "zero1":
        optimizer = ddp.sharded_optimizer(name, model, rate, group)
    elif strategy["offload"] == "optimizer":
        optimizer = optimizers.for_strategy(strategy, model, rate)
    else:
        optimizer = optimizers.build_by_group(name, by_mesh(optimizers.trained(model)), rate)
    by_position = strategy["sequence_parallel"] is True and group.layout.model_kind == "tp"
    multiple = group.layout.model if by_position else 1
    divided = ShardedModel(model, run, bones, group, bucket_mib, multiple)
    return TrainState(model, run, optimizer, precision, rate, masks, group.device, group, divided)


class ShardedModel:
    """A model whose every rank runs all layers, on examples or with weights of its own."""

    def __init__(
        self,
        model: PreTrainedModel,
        run: Callable[..., Any],
        bones: PreTrainedModel,
        group: DistributedGroup,
        bucket_mib: int,
        multiple: int,
    ) -> None:
        self._multiple = multiple
        self._model, self._bones = model, bones
        self._group, self._bucket_mib = group, bucket_mib
        self._replica = run if isinstance(run, DistributedDataParallel) else None
        self._sharded = model if isinstance(model, FSDPModule) else None
        self._averages = self._replica is not None or self._sharded is not None

    def unsharded(self) -> PreTrainedModel:
        return materialize(self._bones, full_state(self._model, self._group.device))

    def step(self, ready: TrainState, schedule: TrainingPlan, rows: Indices, rate: float) -> Tensor:
        """As :func:`autotune.trial.training.step`; the micro-batch of each rank is as large as the
        strategy says."""
        group, scaler = self._group, ready.precision.scaler
        collate = schedule.collate.padded_to(self._multiple)
        judged = collate.judged(rows)
        parts = list(chunks(rows, schedule.micro_batch_size * group.layout.data))
        total = torch.zeros((), device=group.device)
        for place, part in enumerate(parts):
            mine, counts = group.local_rows(part)
            batch = collate(mine)
            with self._sending(place == len(parts) - 1):
                with ready.precision.autocast():
                    logits = ready.run(**batch.inputs).logits
                loss = summed_loss(logits, batch.labels) * (counts / judged)
                shared = loss * group.layout.data if self._averages else loss
                (shared if scaler is None else scaler.scale(shared)).backward()
            total += loss.detach()
        optimizers.update(ready.optimizer, ready.precision, rate, self._clip(ready))
        if ready.masks is not None:
            ready.masks.apply()
        # The ranks that hold one copy between them have all seen the same loss.
        return total if group.model_rank == 0 else torch.zeros_like(total)

    def _sending(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients travel with the last micro-batch of a step only."""
        if self._replica is not None and not last:
            return self._replica.no_sync()
        if self._sharded is not None:
            self._sharded.set_requires_gradient_sync(last)
        return nullcontext()

    def _clip(self, ready: TrainState) -> optimizers.Clip:
        """Gradients after DDP are whole and the same everywhere; others are put together first."""
        trained = optimizers.trained(self._model)
        if self._replica is not None:
            return optimizers.clip_alone
        gradients.reduce_partial_gradients(trained)
        group = self._group
        if not self._averages and group.layout.data > 1:
            gradients.all_reduce_gradients(trained, group.over_data, self._bucket_mib, group.table)
        return partial(gradients.clip, stages=None)
