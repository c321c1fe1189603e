"""The artifact of the runtime ``torch-compile``: the model compiled ahead of time.

AOTInductor writes machine code for the processor of this host, with lengths and batch sizes
dynamic. Nothing is compiled while the model serves.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import _inductor as inductor

from autotune.deployment import trained_model
from autotune.deployment.artifact import Artifact
from autotune.deployment.builders.onnx import EXAMPLE_SHAPE
from autotune.deployment.runtimes.torch_compile import PACKAGE
from autotune.deployment.runtimes.torch_eager import DTYPES
from autotune.deployment.runtimes.torch_outputs import LogitsModel
from autotune.deployment.runtimes.torch_threads import torch_threads


def build_graph(model: Path, artifact: Artifact, folder: Path) -> None:
    """Write the compiled model to ``folder``."""
    module = trained_model.load(model).to(DTYPES[artifact.quantization])  # type: ignore[arg-type]
    axes = {
        0: torch.export.Dim("batch"),
        1: torch.export.Dim("length", max=artifact.max_length),
    }
    names = artifact.inputs
    examples = tuple(torch.ones(EXAMPLE_SHAPE, dtype=torch.long) for _ in names)
    # The number of threads becomes a part of the code.
    with torch_threads(artifact.threads), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls functions of its own that are deprecated
        program = torch.export.export(
            LogitsModel(module, names).eval(), examples, dynamic_shapes=((axes,) * len(names),)
        )
        inductor.aoti_compile_and_package(program, package_path=str(folder / PACKAGE))
