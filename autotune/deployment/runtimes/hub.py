"""The runtime of exported models in the format of ``from_pretrained``: transformers itself.

Exported folders contain a copy of this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import transformers

from autotune.deployment.artifact import Artifact
from autotune.deployment.predictor import Session
from autotune.deployment.runtimes.torch_outputs import model_session
from autotune.deployment.runtimes.torch_threads import torch_threads


@contextmanager
def open_session(folder: Path, artifact: Artifact, threads: int | None) -> Iterator[Session]:
    """Load the model, to run on ``threads`` threads (``None``: all cores of the process)."""
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    model_class = getattr(transformers, config.architectures[0])
    model = model_class.from_pretrained(folder, local_files_only=True).eval()
    with torch_threads(threads):
        yield model_session(model)
