"""The runtimes of deployed models: what each can run, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

QUANTIZATIONS = ("none", "bf16", "fp16", "int8-dynamic", "int8-static")
"""The types of numbers that a deployed model can have; ``none`` is fp32."""


@dataclass(frozen=True)
class Runtime:
    """A runtime that can run some ``quantizations``. It needs ``packages``, by the names that they
    are imported with, which the ``extra`` of autotune installs."""

    name: str
    quantizations: tuple[str, ...]
    packages: tuple[str, ...] = ()
    extra: str | None = None
    is_on_gpu: bool = False


RUNTIMES: Mapping[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime("torch", ("none", "bf16")),
        Runtime("torch-compile", ("none", "bf16")),
        Runtime("torch-cuda-graphs", ("none", "bf16", "fp16"), is_on_gpu=True),
        Runtime(
            "onnxruntime", ("none", "int8-dynamic", "int8-static"),
            ("onnxruntime", "onnx", "onnxscript"), "onnx",
        ),
        Runtime(
            "openvino", ("none", "bf16", "fp16", "int8-static"),
            ("openvino", "nncf", "onnx", "onnxscript"), "openvino",
        ),
        Runtime(
            "tensorrt", ("none", "fp16"),
            ("tensorrt", "onnx", "onnxscript"), "tensorrt", is_on_gpu=True,
        ),
    )
}  # fmt: skip
