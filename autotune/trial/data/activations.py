"""Hidden states of the training examples, computed once, from which training batches are made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE, COST_FILE = "activations.safetensors", "cost.json"


@dataclass(frozen=True)
class ComputationCost:
    """The time and the energy of a computation; 0 joules where no counter can be read."""

    seconds: float = 0.0
    joules: float = 0.0


@dataclass(frozen=True)
class Activations:
    """The hidden states of all examples of a split, without padding: ``hidden`` is
    ``[tokens, size]`` in host memory, and example ``n`` has those from ``offsets[n]`` to
    ``offsets[n + 1]``. ``saved`` is what they cost the trial that computed them, if it was
    another one."""

    hidden: Tensor
    offsets: np.ndarray
    saved: ComputationCost = field(default_factory=ComputationCost)

    def batch(self, rows: np.ndarray, length: int) -> Tensor:
        """The hidden states of ``rows``, padded with zeros: ``[rows, length, size]``."""
        padded = self.hidden.new_zeros(len(rows), length, self.hidden.shape[1])
        for index, row in enumerate(rows):
            begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
            padded[index, : end - begin] = self.hidden[begin:end]
        return padded

    def write(self, folder: Path, cost: ComputationCost) -> None:
        save_file({"hidden": self.hidden}, folder / FILE)
        (folder / COST_FILE).write_text(json.dumps(asdict(cost)), encoding="utf-8")


def read_activations(folder: Path, offsets: np.ndarray) -> Activations:
    """What :meth:`Activations.write` wrote to ``folder``, for a split with these ``offsets``."""
    hidden = load_file(folder / FILE)["hidden"]
    cost = ComputationCost(**json.loads((folder / COST_FILE).read_bytes()))
    return Activations(hidden.to(torch.device("cpu")), offsets, cost)
