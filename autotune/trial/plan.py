"""The training plan: levers ``epochs``, ``batch_size``, ``micro_batch_size`` and the loader's.

It says how many steps training takes, over which examples, and at which steps the rungs are.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from autotune.domain import Strategy, Task
from autotune.domain.schedule import Schedule, schedule_of
from autotune.domain.training import evaluation_steps, num_steps
from autotune.trial.data.batching import Batch, Collator, Indices, batch_order, chunks

RUNGS = (0.25, 0.5)
"""Fractions of the steps after which a trial is evaluated and can be stopped."""


@dataclass(frozen=True)
class TrainingPlan:
    """``steps`` optimizer steps over global batches, which ``collate`` builds from micro-batches.
    ``seed`` determines the order of the examples, ``schedule`` the learning rates. After the steps
    in ``evaluations``, the best weights are chosen; after those in ``rungs``, the trial can be
    stopped.

    With ``longest_first`` the longest examples come first, so that a run that is cut short still
    reaches the peak memory of a full training run.
    """

    collate: Collator
    steps: int
    batch_size: int
    micro_batch_size: int
    padding: str
    seed: int
    rungs: frozenset[int] = frozenset()
    evaluations: frozenset[int] = frozenset()
    loader_workers: int = 0
    prefetch: int = 2
    longest_first: bool = False
    schedule: Schedule = field(default_factory=Schedule)

    @property
    def examples(self) -> int:
        """Examples over all steps; an example counts once per epoch."""
        per_epoch = len(self.collate.split)
        epochs, remaining_steps = divmod(self.steps, math.ceil(per_epoch / self.batch_size))
        return epochs * per_epoch + remaining_steps * self.batch_size

    def batches(self, start: int = 0) -> Iterator[Indices]:
        """An endless iterator over global batches, from that of step ``start`` on."""
        return islice(self._batches(), start, None)

    def _batches(self) -> Iterator[Indices]:
        lengths = self.collate.split.lengths
        if self.longest_first:
            yield np.argsort(-lengths, kind="stable")[: self.batch_size]
        yield from batch_order(lengths, self.batch_size, self.padding, self.seed)

    def prefetched(self, start: int = 0) -> Iterator[tuple[Indices, list[Batch]]]:
        """An endless iterator over global batches, each with its collated micro-batches, from that
        of step ``start`` on.

        They are collated on demand, or ahead of time by ``loader_workers`` threads.
        """
        if self.loader_workers == 0:
            yield from ((rows, self._collate(rows)) for rows in self.batches(start))
            return
        with ThreadPoolExecutor(self.loader_workers, thread_name_prefix="loader") as threads:
            queue: deque[tuple[Indices, Future[list[Batch]]]] = deque()
            for rows in self.batches(start):
                queue.append((rows, threads.submit(self._collate, rows)))
                if len(queue) > self.loader_workers * self.prefetch:
                    next_rows, future = queue.popleft()
                    yield next_rows, future.result()

    def _collate(self, batch: Indices) -> list[Batch]:
        return [self.collate(rows) for rows in self.micro_batches(batch)]

    def micro_batches(self, batch: Indices) -> list[Indices]:
        """The micro-batches of a global batch."""
        return list(chunks(batch, self.micro_batch_size))


def plan_training(strategy: Strategy, task: Task, collate: Collator, seed: int) -> TrainingPlan:
    """The plan of a full training run: the task's steps, else the strategy's epochs."""
    batch_size, micro_batch_size = int(strategy["batch_size"]), strategy["micro_batch_size"]
    steps = task.steps or num_steps(strategy, len(collate.split))
    rungs = {math.ceil(fraction * steps) for fraction in RUNGS}
    evaluations: frozenset[int] = frozenset()
    if task.evaluate_every is not None:
        evaluations = evaluation_steps(task.evaluate_every, strategy, len(collate.split), steps)
    return TrainingPlan(
        collate,
        steps,
        batch_size,
        micro_batch_size=batch_size if micro_batch_size == "full" else int(micro_batch_size),
        padding=str(strategy["padding"]),
        seed=seed,
        rungs=frozenset(step for step in rungs if step < steps),
        evaluations=evaluations,
        loader_workers=int(strategy["loader_workers"]),
        prefetch=int(strategy["prefetch"]),
        schedule=schedule_of(strategy, steps),
    )
