"""Lever ``padding``: batches of ``batch_size`` examples.

Batches are indexed from the flat arrays of a split, which takes tens of microseconds. The loader's
threads (``loader_workers``) can do it ahead of time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autotune.domain import Strategy
from autotune.domain.registry import import_function
from autotune.domain.training import COMPILED_MULTIPLE
from autotune.errors import UsageError
from autotune.trial.data.activations import Activations
from autotune.trial.data.prepared import PreparedTask
from autotune.trial.split import Split
from autotune.trial.tasks.base import is_evaluated

Indices = np.ndarray
"""Indices of examples of a split, ``int64[n]``."""

BUCKET_BATCHES = 100
"""Batches whose examples are sorted by length together. Higher values need less padding and
shuffle less."""


@dataclass(frozen=True)
class Batch:
    """Model arguments, labels (``[n]``, ``[n, length]`` or ``[n, labels]``), the number of labels
    that are not ignored, and the logits of a teacher, if there is one."""

    inputs: dict[str, Tensor]
    labels: Tensor
    num_labels: int
    teacher: Tensor | None = None


@dataclass(frozen=True)
class Collator:
    """Makes batches of examples of ``split`` on ``device``.

    Rows are padded to the longest of the batch, rounded up to ``multiple`` (but not beyond
    ``limit``), or to ``length`` if it is set. A batch without padding has no mask, which enables
    faster attention, unless ``always_mask`` is set: a compiled model needs the same arguments every
    time. Without ``has_mask`` there is none at all: FNet does not take one. With ``activations``,
    the batch has the hidden states of its examples (``inputs_embeds``) and not their tokens.
    ``teacher`` has the logits of a teacher for each example (``[examples, labels]``) or token
    (``[tokens, labels]``).
    ``transform`` is the user's own function that changes the inputs of a batch, on the CPU.
    """

    split: Split
    pad_token_id: int
    device: torch.device
    length: int | None = None
    multiple: int = 1
    limit: int | None = None
    always_mask: bool = False
    pinned: bool = True
    has_mask: bool = True
    activations: Activations | None = None
    teacher: np.ndarray | None = None
    transform: Callable[[dict[str, Tensor]], Any] | None = None

    def __call__(self, rows: Indices) -> Batch:
        arrays = self.split.batch(rows, self.pad_token_id, self.length or self._rounded(rows))
        labels = arrays.pop("labels")
        if not self.has_mask or (not self.always_mask and arrays["attention_mask"].all()):
            del arrays["attention_mask"]
        on_cpu = self._transformed({name: torch.from_numpy(a) for name, a in arrays.items()})
        inputs = {name: self._tensor(tensor) for name, tensor in on_cpu.items()}
        if self.activations is not None:
            length = inputs.pop("input_ids").shape[1]
            inputs.pop("token_type_ids", None)
            inputs["inputs_embeds"] = self._tensor(self.activations.batch(rows, length))
        return Batch(
            inputs,
            self._tensor(torch.from_numpy(labels)),
            int(is_evaluated(labels).sum()),
            self._teacher_logits(rows, length=arrays["input_ids"].shape[1]),
        )

    def _transformed(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """``inputs`` as the user's own function changes them. Raises :class:`UsageError` if it
        returns other arguments, or other shapes."""
        if self.transform is None:
            return inputs
        shapes = {name: tensor.shape for name, tensor in inputs.items()}
        changed: dict[str, Tensor] = self.transform(inputs)
        if not isinstance(changed, dict) or {n: t.shape for n, t in changed.items()} != shapes:
            raise UsageError(
                f"task.collator returns other inputs than {', '.join(shapes)}",
                hint="return a dictionary of tensors with the names and shapes of the argument",
            )
        return changed

    def _teacher_logits(self, rows: Indices, length: int) -> Tensor | None:
        """The logits of the teacher for ``rows``; 0 for padding."""
        if self.teacher is None:
            return None
        by_token = len(self.teacher) != len(self.split)
        logits = self.split.gather(rows, self.teacher, length) if by_token else self.teacher[rows]
        return self._tensor(torch.from_numpy(logits))

    def padded_to(self, multiple: int) -> Collator:
        """This collator with lengths rounded up to ``multiple`` too."""
        if multiple == 1:
            return self
        length = None if self.length is None else math.ceil(self.length / multiple) * multiple
        multiple = math.lcm(self.multiple, multiple)
        return replace(self, length=length, multiple=multiple, limit=None)

    def count_labels(self, rows: Indices) -> int:
        """The number of labels of the examples ``rows`` that are not ignored."""
        labels, offsets = self.split.labels, self.split.offsets
        if not self.split.labels_by_token:
            return int(is_evaluated(labels[rows]).sum())
        return sum(int(is_evaluated(labels[offsets[r] : offsets[r + 1]]).sum()) for r in rows)

    def _rounded(self, rows: Indices) -> int | None:
        if self.multiple == 1:
            return None
        longest = int(self.split.lengths[rows].max())
        rounded = math.ceil(longest / self.multiple) * self.multiple
        return rounded if self.limit is None else min(rounded, max(self.limit, longest))

    def _tensor(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda":
            tensor = tensor.pin_memory() if self.pinned else tensor
            return tensor.to(self.device, non_blocking=self.pinned)
        return tensor.to(self.device)


def training_collator(
    strategy: Strategy, prepared: PreparedTask, split: Split, device: torch.device
) -> Collator:
    """The collator of training batches under the levers ``padding``, ``compile`` and
    ``pinned_memory``."""
    is_compiled = bool(strategy["compile"])
    return Collator(
        split,
        prepared.pad_token_id,
        device,
        length=prepared.max_length if strategy["padding"] == "fixed" else None,
        multiple=COMPILED_MULTIPLE if is_compiled else 1,
        limit=prepared.max_length,  # the model may have no positions beyond it
        always_mask=is_compiled,
        pinned=strategy["pinned_memory"] is True,
        has_mask=prepared.has_mask,
        transform=_transform(prepared.collator),
    )


def _transform(reference: str | None) -> Callable[..., Any] | None:
    if reference is None:
        return None
    function: Callable[..., Any] = import_function(reference, "task.collator")
    return function


def batch_order(lengths: np.ndarray, batch_size: int, padding: str, seed: int) -> Iterator[Indices]:
    """An endless iterator over global batches; each epoch has every example once.

    The last batch of an epoch can be smaller, as in Trainer. With ``bucketed``, examples of
    similar length share a batch and the batches are shuffled. The first batch has the longest
    example, so that a strategy that needs too much memory fails at once.
    """
    rng = np.random.default_rng(seed)
    is_first_epoch = True
    while True:
        shuffled = rng.permutation(len(lengths))
        if padding != "bucketed":
            yield from chunks(shuffled, batch_size)
            continue
        batches = list(_buckets(shuffled, lengths, batch_size))
        batches = [batches[index] for index in rng.permutation(len(batches))]
        if is_first_epoch:
            longest = max(range(len(batches)), key=lambda index: lengths[batches[index]].max())
            batches.insert(0, batches.pop(longest))
        is_first_epoch = False
        yield from batches


def _buckets(shuffled: Indices, lengths: np.ndarray, batch_size: int) -> Iterator[Indices]:
    for bucket in chunks(shuffled, BUCKET_BATCHES * batch_size):
        yield from chunks(bucket[np.argsort(-lengths[bucket], kind="stable")], batch_size)


def chunks(indices: Indices, size: int) -> Iterator[Indices]:
    """``indices`` in chunks of ``size``; the last one can be smaller."""
    return (indices[start : start + size] for start in range(0, len(indices), size))


def select_examples(split: Split, rows: Indices) -> Split:
    """A split of the examples ``rows`` of ``split``, in that order."""
    lengths = split.lengths[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.concatenate([np.arange(split.offsets[r], split.offsets[r + 1]) for r in rows])
    labels = split.labels[tokens if split.labels_by_token else rows]
    types = None if split.types is None else split.types[tokens]
    indices = {"row": rows, "token": tokens}
    extras = {
        name: array[indices[kind]] if (kind := name.partition("_")[0]) in indices else array
        for name, array in split.extras.items()
    }
    return Split(split.tokens[tokens], offsets, labels, types, extras)
