"""A prepared task and its splits, as :mod:`autotune.trial.data.datasets` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autotune.errors import DataError
from autotune.trial.split import Split


@dataclass(frozen=True)
class PreparedTask:
    """The files and facts of a prepared task. Small: it is sent to workers on the same machine.

    ``max_length`` is that of the task, limited by the model. ``tokens`` has the lengths of training
    examples in tokens (``p50 p95 max``). ``sources`` describes the origin of each split; ``notes``
    are for readers of the results. ``data_digest`` is a hash of the content of all rows.
    ``class_weights`` has the weight of each label in the loss, where the task gives them; ``loss``,
    ``collator`` and ``model_class`` are the user's own, ``threshold`` is that of the task.
    ``has_mask``: whether the model takes an attention mask; ``has_windows``: whether long texts are
    divided into windows, each of which is a row of a split.
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
    data_digest: str | None = None
    class_weights: tuple[float, ...] | None = None
    loss: str | None = None
    collator: str | None = None
    model_class: str | None = None
    threshold: float | str | None = None
    has_mask: bool = True
    has_windows: bool = False

    @property
    def num_labels(self) -> int:
        return len(self.label_names)


def load_split(prepared: PreparedTask, split: str) -> Split:
    """``train``, ``validation`` or ``test`` of a prepared task."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(prepared.folder) / f"{split}.safetensors"
    try:
        return Split.from_arrays(load_file(path))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path}: prepared data is missing or damaged: {error}",
            hint="run the same command again",
        ) from error
