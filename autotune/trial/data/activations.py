"""Hidden states of the training examples, computed once, from which training batches are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FILE = "activations.safetensors"


@dataclass(frozen=True)
class Activations:
    """The hidden states of all examples of a split, without padding: ``hidden`` is
    ``[tokens, size]`` in host memory, and example ``n`` has those from ``offsets[n]`` to
    ``offsets[n + 1]``."""

    hidden: Tensor
    offsets: np.ndarray

    def batch(self, rows: np.ndarray, length: int) -> Tensor:
        """The hidden states of ``rows``, padded with zeros: ``[rows, length, size]``."""
        padded = self.hidden.new_zeros(len(rows), length, self.hidden.shape[1])
        for index, row in enumerate(rows):
            begin, end = int(self.offsets[row]), int(self.offsets[row + 1])
            padded[index, : end - begin] = self.hidden[begin:end]
        return padded

    def write(self, folder: Path) -> None:
        save_file({"hidden": self.hidden}, folder / FILE)


def read_activations(folder: Path, offsets: np.ndarray) -> Activations:
    """What :meth:`Activations.write` wrote to ``folder``, for a split with these ``offsets``."""
    hidden = load_file(folder / FILE)["hidden"]
    return Activations(hidden.to(torch.device("cpu")), offsets)
