"""Models of transformers as sessions: their outputs as one array."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from autotune.deployment.inputs import MASK, Arrays
from autotune.deployment.predictor import Session


def logits(outputs: Any) -> Tensor:
    """``[n, labels]`` or ``[n, length, labels]``. The logits of the start and the end of an answer
    are two labels of each token."""
    if "logits" in outputs:
        tensor: Tensor = outputs["logits"]
        return tensor
    return torch.stack([outputs["start_logits"], outputs["end_logits"]], dim=-1)


class LogitsModel(nn.Module):
    """A model whose only output is :func:`logits`, in fp32, for exporters of graphs.

    It is called with the arrays in the order of ``names``.
    """

    def __init__(self, model: PreTrainedModel, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *arrays: Tensor) -> Tensor:
        return logits(self.model(**dict(zip(self.names, arrays, strict=True)))).float()


def model_session(model: PreTrainedModel) -> Session:
    """Runs ``model`` on the CPU."""

    def run(arrays: Arrays) -> NDArray[Any]:
        # Attention is faster without a mask than with one of ones.
        if arrays[MASK].all():
            arrays = {name: array for name, array in arrays.items() if name != MASK}
        with torch.inference_mode():
            outputs = model(**{name: torch.from_numpy(array) for name, array in arrays.items()})
            return logits(outputs).float().numpy()

    return run
