"""A task made ready: what a trial needs to know of it, and its splits.

:mod:`autotune.trial.data.datasets` makes these; training needs nothing else of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import DataError
from autotune.trial.data.split import Split


@dataclass(frozen=True)
class PreparedTask:
    """A task made ready. Plain and small: it travels to workers on the same machine.

    ``max_length`` is what the model allows of what the task asks. ``tokens`` says how long training
    examples are, in word pieces (``p50 p95 max``). ``sources`` says where each split came from, and
    ``notes`` what else a reader of the results should know.
    """

    kind: str
    folder: str
    model_dir: str
    label_names: tuple[str, ...]
    sizes: Mapping[str, int]
    max_length: int
    pad_token_id: int
    tokens: Mapping[str, int]
    sources: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def num_labels(self) -> int:
        return len(self.label_names)


def load_split(prepared: PreparedTask, split: str) -> Split:
    """``train``, ``validation`` or ``test`` of a prepared task."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(prepared.folder) / f"{split}.safetensors"
    try:
        return Split(**load_file(path))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path}: prepared data is gone or damaged: {error}", hint="run the same command again"
        ) from error
