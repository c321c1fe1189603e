"""The runtimes, one file each, with ``open_session(folder, artifact, threads)``.

Those that exported folders contain import neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from autotune.deployment.artifact import read_artifact
from autotune.deployment.predictor import Predictor

SESSIONS = {
    "torch": "autotune.deployment.runtimes.torch_eager",
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
    open_session = import_module(SESSIONS[artifact.runtime]).open_session
    with open_session(folder, artifact, threads) as session:
        yield Predictor(artifact, session)
