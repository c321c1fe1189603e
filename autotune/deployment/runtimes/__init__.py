"""The runtimes, one file each, with ``open_session(folder, artifact, threads)``.

Those that exported folders contain import neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from autotune.deployment.artifact import Artifact, read_artifact
from autotune.deployment.packages import required_packages
from autotune.deployment.predictor import Predictor, Session
from autotune.errors import ModelError

HUB = "transformers"
"""The runtime of models that are exported in the format of ``from_pretrained``."""

SESSIONS = {
    HUB: "autotune.deployment.runtimes.hub",
    "torch": "autotune.deployment.runtimes.torch_eager",
    "torch-compile": "autotune.deployment.runtimes.torch_compile",
    "torch-cuda-graphs": "autotune.deployment.runtimes.torch_cuda_graphs",
    "onnxruntime": "autotune.deployment.runtimes.onnx",
    "openvino": "autotune.deployment.runtimes.openvino",
    "tensorrt": "autotune.deployment.runtimes.tensorrt",
}
"""The module of each runtime."""


@contextmanager
def open_artifact(folder: Path, threads: int | None) -> Iterator[Predictor]:
    """Load the artifact in ``folder`` into this process, to run on ``threads`` threads (``None``:
    all cores of the process).

    Raises :class:`~autotune.errors.ModelError` for a folder that is no artifact, and
    :class:`~autotune.errors.MissingExtraError` if its runtime is not installed.
    """
    artifact = read_artifact(folder)
    with open_session(folder, artifact, threads) as session:
        yield Predictor(artifact, session)


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the model of ``artifact`` in its runtime. Raises
    :class:`~autotune.errors.ModelError` for a runtime that does not exist."""
    if artifact.runtime not in SESSIONS:
        raise ModelError(f"{folder}: there is no runtime {artifact.runtime!r}")
    with required_packages(artifact.runtime):
        runtime = import_module(SESSIONS[artifact.runtime])
    with runtime.open_session(folder, artifact, threads) as session:
        yield session
