"""How a trained model is deployed: its runtime, the type of its numbers, batches and threads."""

from __future__ import annotations

from dataclasses import dataclass

from autotune.domain import Strategy
from autotune.errors import Unsupported

RUNTIMES = (
    "torch", "torch-compile", "torch-cuda-graphs", "onnxruntime", "openvino", "tensorrt",
)  # fmt: skip
"""Values of the lever ``runtime``."""

QUANTIZATIONS = ("none", "bf16", "fp16", "int8-dynamic", "int8-static")
"""Values of the lever ``quantization``."""

GRANULARITIES = ("channel", "tensor")
"""Values of the lever ``quantization_granularity``: what shares a scale of int8 weights."""

OPERATORS = ("all", "linear")
"""Values of the lever ``quantization_operators``: what is in int8, linear layers and embeddings,
or linear layers only."""

PADDINGS = ("dynamic", "bucketed")
"""Values of the lever ``inference_padding``: batches in the order of arrival, or of texts of
similar length. Both are padded to the longest text of the batch."""

SUPPORTED = {
    "torch": ("none", "bf16"),
    "torch-compile": ("none", "bf16"),
    "torch-cuda-graphs": ("none", "bf16", "fp16"),
    "onnxruntime": ("none", "int8-dynamic", "int8-static"),
    "openvino": ("none", "bf16", "fp16", "int8-static"),
    "tensorrt": ("none", "fp16"),
}
"""The quantizations that each runtime can run."""


@dataclass(frozen=True)
class DeploymentSettings:
    """The settings of the deployment levers. ``inference_threads`` is ``None`` for all cores of the
    process."""

    runtime: str = "torch"
    quantization: str = "none"
    inference_batch_size: int = 32
    inference_threads: int | None = None
    inference_padding: str = "dynamic"
    quantization_granularity: str = "channel"
    quantization_operators: str = "all"

    def __post_init__(self) -> None:
        if self.quantization not in SUPPORTED[self.runtime]:
            raise Unsupported(
                f"{self.runtime} cannot run {self.quantization}: "
                f"it can run {', '.join(SUPPORTED[self.runtime])}"
            )

    @classmethod
    def from_strategy(cls, strategy: Strategy) -> DeploymentSettings:
        """The settings of ``strategy``; a lever that it does not have has its default here.
        ``inference_threads: 0`` stands for all cores."""
        default = cls()
        return cls(
            runtime=str(strategy.get("runtime", default.runtime)),
            quantization=str(strategy.get("quantization", default.quantization)),
            inference_batch_size=int(
                strategy.get("inference_batch_size", default.inference_batch_size)
            ),
            inference_threads=int(strategy.get("inference_threads", 0)) or None,
            inference_padding=str(strategy.get("inference_padding", default.inference_padding)),
            quantization_granularity=str(
                strategy.get("quantization_granularity", default.quantization_granularity)
            ),
            quantization_operators=str(
                strategy.get("quantization_operators", default.quantization_operators)
            ),
        )
