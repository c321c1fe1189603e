"""The training loop: :func:`init_train_state`, :func:`train_step`, :class:`TrainingLoop`.

Exported scripts for plain torch use the same loop as trials.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autotune.domain import Strategy
from autotune.domain.training import peak_learning_rate
from autotune.measure.clock import Window, now
from autotune.measure.energy import EnergyMeter
from autotune.trial.activation_cache import cached_activations, upper_model
from autotune.trial.data.batching import Batch, Collator
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.devices import model_devices
from autotune.trial.distributed.process_group import ProcessGroup, SingleProcess
from autotune.trial.effects import optimizers
from autotune.trial.effects.adapters import has_adapter
from autotune.trial.effects.device_map import dispatch_model
from autotune.trial.effects.distillation import distillation_of
from autotune.trial.effects.schedules import rate_factors
from autotune.trial.loss import build_loss, output_logits
from autotune.trial.plan import TrainingPlan
from autotune.trial.setup import build_model, compile_model, compiled_graphs
from autotune.trial.state import TrainState

WARMUP_STEPS = 5
"""The first steps fill caches, memory pools and compilers; they form a window of their own."""

WINDOW_SECONDS = 0.5


def init_train_state(
    strategy: Strategy,
    prepared: PreparedTask,
    collate: Collator,
    seed: int,
    group: ProcessGroup | None = None,
) -> TrainState:
    """Build the strategy's model and optimizer. Every process of ``group`` builds the model and
    keeps its part."""
    setup = build_model(strategy, prepared, collate, seed)
    loss = build_loss(prepared, float(strategy["label_smoothing"]), setup.penalty)
    loss = replace(loss, distillation=distillation_of(strategy))
    model, precision, device = setup.model, setup.precision, collate.device
    activations, trained = None, model
    if strategy["cache_activations"]:
        activations = cached_activations(strategy, model, precision, prepared, collate, seed)
        trained = upper_model(strategy, model, precision)
    # Compilation needs the final weights and layers.
    forward = compile_model(strategy, trained)
    if group is not None and not isinstance(group, SingleProcess):
        from autotune.trial.distributed.collectives import DistributedGroup
        from autotune.trial.distributed.parallelize import parallelize

        assert isinstance(group, DistributedGroup)
        # Ranks with different examples need different dropout, ranks of one replica the same.
        torch.manual_seed(seed + group.data_rank)
        return parallelize(strategy, model, forward, precision, setup.masks, group, loss)
    if strategy["placement"] not in ("single", "mixed"):
        with precision.autocast():  # split:time measures the speed of layers
            dispatch_model(model, str(strategy["placement"]), model_devices(strategy))
    rate = peak_learning_rate(strategy)
    optimizer = optimizers.build_for_strategy(strategy, model)
    return TrainState(
        model, forward, optimizer, precision, rate, setup.masks, device, loss,
        group or SingleProcess(device), max_gradient_norm=float(strategy["gradient_clip"]),
        has_adapter=has_adapter(strategy), ranks=setup.ranks, activations=activations,
    )  # fmt: skip


def train_step(state: TrainState, micro_batches: list[Batch], learning_rate: float) -> Tensor:
    """Take one optimizer step over a batch given as micro-batches; return its mean loss.

    Each micro-batch's loss is divided by the labels of the whole batch, so that the accumulated
    gradients are those of the batch, whatever the micro-batches. Only for spans they differ a bit:
    see :func:`~autotune.trial.loss.span_cross_entropy`.
    """
    num_labels = sum(batch.num_labels for batch in micro_batches)
    total = torch.zeros((), device=state.device)
    for batch in micro_batches:
        with state.precision.autocast():
            logits = output_logits(state.forward(**batch.inputs))
        loss = state.loss(logits, batch.labels, batch.teacher) / num_labels
        scaler = state.precision.scaler
        (loss if scaler is None else scaler.scale(loss)).backward()
        total += loss.detach()
    optimizers.take_step(state.optimizer, state.precision, learning_rate, state.max_gradient_norm)
    if state.masks is not None:
        state.masks.apply()
    return total


@dataclass(frozen=True)
class Progress:
    """The end of ``window``: optimizer steps and examples so far, and the window's mean loss."""

    step: int
    examples: int
    loss: float
    window: Window


class TrainingLoop:
    """Takes the steps of ``plan``, one timed window at a time.

    A window ends after :data:`WINDOW_SECONDS`, at a rung or evaluation, after the warm-up and at
    the end. Time and energy spent between two calls of :meth:`run_window` are not counted. ``step``
    and ``examples`` count what has been trained so far, ``start`` steps by another process.
    """

    def __init__(
        self,
        state: TrainState,
        plan: TrainingPlan,
        meter: EnergyMeter,
        *,
        start: int = 0,
        examples: int = 0,
    ) -> None:
        if state.activations is not None:
            plan = replace(plan, collate=replace(plan.collate, activations=state.activations))
        self._state, self._plan, self._meter = state, plan, meter
        self._warmup_end = start + min(WARMUP_STEPS, (plan.steps - start) // 4)
        self._last_steps = {*plan.rungs, *plan.evaluations, self._warmup_end, plan.steps}
        if state.ranks is not None:
            state.ranks.allocate_after_step(state.optimizer, plan.steps)
        self._take_step = _step_function(state, plan, start)
        self._rate_factor = rate_factors(plan.schedule, plan.steps)
        self.step, self.examples = start, examples

    @property
    def is_finished(self) -> bool:
        return self.step >= self._plan.steps

    def run_window(self) -> Progress:
        """Train for one window. Losses stay on the device until its end, so that no step waits."""
        state = self._state
        state.model.train()
        losses: list[Tensor] = []
        examples_before, graphs_before = self.examples, compiled_graphs()
        with self._meter.running():
            start = now(state.device)
            while True:
                rate = state.peak_learning_rate * self._rate_factor(self.step)
                batch_size, loss = self._take_step(rate)
                losses.append(loss)
                self.step += 1
                self.examples += batch_size
                elapsed = time.perf_counter() - start
                is_done = state.group.window_done(len(losses), elapsed, WINDOW_SECONDS)
                if is_done or self.step in self._last_steps:
                    break
            seconds = now(state.device) - start
        if self.is_finished:
            del self._take_step  # ends the loader's threads
        is_warmup = self.step <= self._warmup_end
        # The last batch of an epoch is smaller, and torch compiles again for its size: for any size
        # with fixed padding, for a single row always.
        compiles = compiled_graphs() > graphs_before
        window = Window(
            self.examples - examples_before,
            seconds,
            warmup=is_warmup,
            disturbed=compiles and not is_warmup,
        )
        mean_loss = state.group.mean_loss(losses, seconds)
        return Progress(self.step, self.examples, mean_loss, window)


def _step_function(
    state: TrainState, plan: TrainingPlan, start: int
) -> Callable[[float], tuple[int, Tensor]]:
    """A function that takes the next step of ``plan``, the first time step ``start``, at a given
    learning rate and returns the batch size and the loss."""
    distributed = state.distributed
    if distributed is not None:
        batches = plan.batches(start)

        def take_distributed_step(rate: float) -> tuple[int, Tensor]:
            rows = next(batches)
            return len(rows), distributed.step(state, plan, rows, rate)

        return take_distributed_step
    loader = plan.prefetched(start)

    def take_step(rate: float) -> tuple[int, Tensor]:
        rows, micro_batches = next(loader)
        return len(rows), train_step(state, micro_batches, rate)

    return take_step
