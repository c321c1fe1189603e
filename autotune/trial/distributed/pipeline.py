"""Kind ``pp``: each rank holds some of the layers, and batches go through them in small pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
)
from transformers import PreTrainedModel

from autotune.domain import Strategy
from autotune.errors import Unsupported
from autotune.trial.data.batching import Collator, Indices, chunks
from autotune.trial.distributed import gradients
from autotune.trial.distributed.collectives import DistributedGroup
from autotune.trial.distributed.process_group import TrainState
from autotune.trial.distributed.stages import Stage, build_stage
from autotune.trial.distributed.weights import materialize, meta_copy
from autotune.trial.effects import allocator, optimizers
from autotune.trial.effects.device_map import TIMED_SHAPE, timed, timed_layer, undisturbed
from autotune.trial.effects.precision import Precision
from autotune.trial.effects.pruning_masks import Masks
from autotune.trial.encoder import Encoder, encoder_of
from autotune.trial.plan import TrainingPlan
from autotune.trial.tasks.base import IGNORED
from autotune.trial.training import summed_loss

LENGTH_MULTIPLE = 32
"""Stages agree on shapes once for each length; rounding lengths up keeps these few."""


def build_pipeline(
    strategy: Strategy,
    model: PreTrainedModel,
    precision: Precision,
    masks: Masks | None,
    group: DistributedGroup,
) -> TrainState:
    """Keep of ``model`` the stages of this rank. Raises :class:`Unsupported` where it has fewer
    layers than there are stages."""
    order = str(strategy["pipeline_schedule"])
    degree = group.layout.model
    count = degree * (2 if order == "interleaved" else 1)
    shares = balanced(_seconds(model, precision, group), count)
    own = range(group.model_rank, count, degree)
    bones = meta_copy(model)
    stages = [build_stage(model, shares, index, precision) for index in own]
    held = nn.ModuleList(stages)
    if masks is not None:
        masks.keep(held)
    allocator.trim()  # of what timing took
    rate = optimizers.peak_rate(strategy)
    optimizer = optimizers.build(str(strategy["optimizer"]), held, rate)
    pieces = int(strategy["pipeline_microbatches"])
    bucket_mib = int(strategy["ddp_bucket_mib"])
    line = PipelinedModel(stages, shares, bones, order, pieces, group, bucket_mib)
    shown = cast(PreTrainedModel, held)
    return TrainState(shown, held, optimizer, precision, rate, masks, group.device, group, line)


class PipelinedModel:
    """The stages of this rank, and the schedules in which they work with those of others."""

    def __init__(
        self,
        stages: Sequence[Stage],
        shares: Sequence[range],
        bones: PreTrainedModel,
        order: str,
        pieces: int,
        group: DistributedGroup,
        bucket_mib: int,
    ) -> None:
        self._stages, self._shares, self._bones = stages, shares, bones
        self._order, self._pieces = order, pieces
        self._group, self._bucket_mib = group, bucket_mib
        self._schedules: dict[tuple[int, int], Any] = {}
        self._judged = 1

    def unsharded(self) -> PreTrainedModel:
        """Every stage sends its weights to all ranks of its copy of the model; its own are those
        it trains, not copies."""
        held = {s.index: dict(s.model.state_dict()) for s in self._stages}
        state: dict[str, Tensor] = {}
        owners = dict(zip(self._bones.state_dict(), self._owners(), strict=True))
        for name, empty in self._bones.state_dict().items():
            own = held.get(owners[name])
            if own is None:
                tensor = torch.empty_like(empty, device=self._group.device)
            else:
                tensor = own[name].detach()
            rank = owners[name] % self._group.layout.model
            dist.broadcast(tensor, group=self._group.over_model, group_src=rank)
            state[name] = tensor
        return materialize(self._bones, state)

    def _owners(self) -> Iterator[int]:
        """The stage of each weight: of its layer, else the first for what comes before layers and
        the last for what comes after."""
        encoder = encoder_of(self._bones)
        place = {id(w): s for s, share in enumerate(self._shares)
                 for layer in share for w in encoder.holder[layer].parameters()}  # fmt: skip
        place |= {id(w): 0 for module in encoder.embeddings for w in module.parameters()}
        for weight in self._bones.state_dict(keep_vars=True).values():
            yield place.get(id(weight), len(self._shares) - 1)

    def step(self, ready: TrainState, schedule: TrainingPlan, rows: Indices, rate: float) -> Tensor:
        """As :func:`autotune.trial.training.step`. The loss is that of the last stage."""
        group = self._group
        self._judged = schedule.collate.judged(rows)
        total = torch.zeros((), device=group.device)
        share = math.ceil(schedule.batch_size / group.layout.data)
        largest = math.ceil(min(schedule.micro_batch_size, share) / self._pieces)
        for micro in chunks(rows, schedule.micro_batch_size * group.layout.data):
            mine, counts = group.local_rows(micro)
            total += self._through(schedule.collate, mine, counts, largest)
        trained = [p for group_ in ready.optimizer.param_groups for p in group_["params"]]
        if group.layout.data > 1:
            gradients.all_reduce_gradients(trained, group.over_data, self._bucket_mib, group.table)
        clip = partial(gradients.clip, stages=group.over_model)
        optimizers.update(ready.optimizer, ready.precision, rate, clip)
        if ready.masks is not None:
            ready.masks.apply()
        return total

    def _through(self, collate: Collator, rows: Indices, counts: bool, largest: int) -> Tensor:
        """Forward and backward of a micro-batch, filled up with rows that do not count so that all
        pieces have the same shape."""
        size = largest * self._pieces
        filled_up = np.concatenate([rows, np.repeat(rows[:1], size - len(rows))])
        length = collate.length or _rounded(collate, rows)
        batch = replace(collate, length=length, always_mask=True)(filled_up)
        batch.labels[len(rows) if counts else 0 :] = IGNORED
        inputs = dict(batch.inputs)
        ids = inputs.pop("input_ids")
        losses: list[Tensor] = []
        first, last = self._stages[0].first, self._stages[-1].last
        self._schedule(largest, length).step(
            *((ids,) if first else ()),
            target=batch.labels if last else None,
            losses=losses if last else None,
            return_outputs=False,
            **inputs,
        )
        zero = torch.zeros((), device=self._group.device)
        return torch.stack([loss.detach() for loss in losses]).sum() if losses else zero

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return summed_loss(logits, labels) / self._judged

    def _schedule(self, rows: int, length: int) -> Any:
        shape = (rows, length)
        if shape not in self._schedules:
            self._schedules[shape] = self._new_schedule(rows, length)
        return self._schedules[shape]

    def _new_schedule(self, rows: int, length: int) -> Any:
        group = self._group
        stages: list[Any] = [
            PipelineStage(
                stage,
                stage.index,
                len(self._shares),
                group.device,
                input_args=stage.example_input(rows, length),
                output_args=stage.example_output(rows, length),
                group=group.over_model,
            )
            for stage in self._stages
        ]
        if self._order == "interleaved":
            return ScheduleInterleaved1F1B(
                stages, self._pieces, loss_fn=self._loss, scale_grads=False
            )
        kind = ScheduleGPipe if self._order == "gpipe" else Schedule1F1B
        return kind(stages[0], self._pieces, loss_fn=self._loss, scale_grads=False)


def _rounded(collate: Collator, rows: Indices) -> int:
    """The longest of ``rows``, rounded up, but never beyond the longest of all."""
    lengths = collate.split.lengths
    rounded = math.ceil(int(lengths[rows].max()) / LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    return min(rounded, int(lengths.max()))


def balanced(seconds: Sequence[float], stages: int) -> list[range]:
    """Layers of each stage, in order, so that the slowest stage is as quick as can be.

    ``seconds`` are of the embeddings, of each layer, and of what follows the layers. Raises
    :class:`Unsupported` where there are fewer layers than stages.
    """
    layers = len(seconds) - 2
    if layers < stages:
        raise Unsupported(
            f"{layers} layers cannot make {stages} stages",
            hint="take a lower degree, or a schedule with one stage a rank",
        )
    costs = list(seconds[1:-1])
    costs[0] += seconds[0]
    costs[-1] += seconds[-1]
    best: dict[tuple[int, int], tuple[float, int]] = {(0, 0): (0.0, 0)}
    for stage in range(1, stages + 1):
        for end in range(stage, layers + 1):
            best[stage, end] = min(
                (max(best[stage - 1, start][0], sum(costs[start:end])), start)
                for start in range(stage - 1, end)
                if (stage - 1, start) in best
            )
    ends = [layers]
    for stage in range(stages, 0, -1):
        ends.append(best[stage, ends[-1]][1])
    ends.reverse()
    return [range(start, end) for start, end in pairwise(ends)]


def _seconds(model: PreTrainedModel, precision: Precision, group: DistributedGroup) -> list[float]:
    """Time of the model's parts in a row, as rank 0 finds it: all ranks must cut alike.

    Layers of one form take one time, so one of them is run. The others' weights are then not even
    read from their file by a rank that will not have them.
    """
    encoder = encoder_of(model)
    told = torch.zeros(len(encoder.holder) + 2, dtype=torch.float64)
    if group.is_main_process:
        with undisturbed(group.device), precision.autocast():
            told[:-1] = torch.tensor([_embedding_seconds(encoder), *_layer_seconds(encoder)])
    dist.broadcast(told, src=0)
    return [float(value) for value in told]


def _embedding_seconds(encoder: Encoder) -> float:
    device = encoder.layers[0].ffn_in.weight.device
    return timed(encoder.embeddings[0], torch.ones(TIMED_SHAPE, dtype=torch.long, device=device))


def _layer_seconds(encoder: Encoder) -> Iterator[float]:
    known: dict[tuple[Any, ...], float] = {}
    for layer in encoder.holder:
        form = tuple((weight.shape, weight.requires_grad) for weight in layer.parameters())
        if form not in known:
            known[form] = timed_layer(encoder, layer)
        yield known[form]
