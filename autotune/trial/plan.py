"""Levers ``epochs`` and ``batch_size`` over time: how many steps, over which examples, with rungs
where."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from autotune.domain import Strategy, Task
from autotune.trial.data.batching import Batch, Collator, Indices, batch_order, chunks

RUNGS = (0.25, 0.5)
"""Shares of the steps after which a trial is judged, and may be stopped."""


@dataclass(frozen=True)
class TrainingPlan:
    """What training will do: ``steps`` optimizer steps over global batches, put together by
    ``collate`` in an order that ``seed`` decides, each cut into micro-batches.

    With ``longest_first``, the longest examples come before all others: a run that is cut short
    has then needed as much memory as a whole one.
    """

    collate: Collator
    steps: int
    batch_size: int
    micro_batch_size: int
    padding: str
    seed: int
    rungs: frozenset[int] = frozenset()
    loader_workers: int = 0
    prefetch: int = 2
    longest_first: bool = False

    @property
    def examples(self) -> int:
        """How many examples all steps go through, each epoch counted."""
        count = len(self.collate.split)
        epochs, rest = divmod(self.steps, math.ceil(count / self.batch_size))
        return epochs * count + rest * self.batch_size

    def batches(self) -> Iterator[Indices]:
        """Global batches without end."""
        lengths = self.collate.split.lengths
        if self.longest_first:
            yield np.argsort(-lengths, kind="stable")[: self.batch_size]
        yield from batch_order(lengths, self.batch_size, self.padding, self.seed)

    def prefetched(self) -> Iterator[tuple[Indices, list[Batch]]]:
        """Global batches without end, each with its micro-batches put together: when they are
        asked for, or ahead of it by threads of the loader's."""
        if self.loader_workers == 0:
            yield from ((rows, self._put_together(rows)) for rows in self.batches())
            return
        with ThreadPoolExecutor(self.loader_workers, thread_name_prefix="loader") as threads:
            ahead: deque[tuple[Indices, Future[list[Batch]]]] = deque()
            for rows in self.batches():
                ahead.append((rows, threads.submit(self._put_together, rows)))
                if len(ahead) > self.loader_workers * self.prefetch:
                    first, made = ahead.popleft()
                    yield first, made.result()

    def _put_together(self, rows: Indices) -> list[Batch]:
        return [self.collate(part) for part in self.parts(rows)]

    def parts(self, batch: Indices) -> list[Indices]:
        """The micro-batches of a global batch."""
        return list(chunks(batch, self.micro_batch_size))


def schedule(strategy: Strategy, task: Task, collate: Collator, seed: int) -> TrainingPlan:
    """The schedule of a whole fine-tune: the task's steps, or the strategy's epochs."""
    batch_size, micro = int(strategy["batch_size"]), strategy["micro_batch_size"]
    per_epoch = math.ceil(len(collate.split) / batch_size)
    steps = task.steps or max(1, math.ceil(float(strategy["epochs"]) * per_epoch))
    rungs = {math.ceil(share * steps) for share in RUNGS}
    return TrainingPlan(
        collate,
        steps,
        batch_size,
        micro_batch_size=batch_size if micro == "full" else int(micro),
        padding=str(strategy["padding"]),
        seed=seed,
        rungs=frozenset(step for step in rungs if step < steps),
        loader_workers=int(strategy["loader_workers"]),
        prefetch=int(strategy["prefetch"]),
    )


def linear_decay(peak: float, step: int, total: int) -> float:
    """The learning rate of ``step`` (from 0) of ``total``: from ``peak`` to nothing, without
    warm-up, as in Trainer."""
    return peak * max(0, total - step) / total
