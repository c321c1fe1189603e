"""The package of the runtime ``torch-compiled``: compiled ahead of time by TorchInductor.

Compilation takes half a minute here instead of in each process that serves. The package is a
library for processors like the one of this host, with the weights.
"""

from __future__ import annotations

from pathlib import Path

import torch

from autotune.deployment import trained_model
from autotune.deployment.artifact import Artifact
from autotune.deployment.runtimes.torch_compiled import PACKAGE
from autotune.deployment.runtimes.torch_eager import DTYPES
from autotune.deployment.runtimes.torch_outputs import LogitsModel
from autotune.domain.text import one_line, shorten
from autotune.errors import Unsupported

EXAMPLE_SHAPE = (2, 8)


def build_graph(model: Path, artifact: Artifact, folder: Path) -> None:
    """Raises :class:`Unsupported` if the model cannot be exported or compiled."""
    weights = trained_model.load(model)
    weights.to(DTYPES[artifact.quantization])  # type: ignore[arg-type]
    module = LogitsModel(weights, artifact.inputs).eval()
    try:
        with torch.inference_mode():
            _compile(module, artifact, folder / PACKAGE)
    except (torch._dynamo.exc.TorchDynamoException, RuntimeError) as error:
        raise Unsupported(
            f"the model cannot be compiled: {shorten(one_line(error), 300)}",
            hint="deploy it with runtime: torch",
        ) from error


def _compile(module: LogitsModel, artifact: Artifact, path: Path) -> None:
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=artifact.max_length)}
    # One tensor for each input: the exporter takes one that occurs twice for a single input.
    examples = tuple(torch.ones(EXAMPLE_SHAPE, dtype=torch.long) for _ in artifact.inputs)
    program = torch.export.export(
        module, examples, dynamic_shapes=((axes,) * len(examples),), strict=False
    )
    torch._inductor.aoti_compile_and_package(program, package_path=str(path))
