"""The weights of classes in the loss (``task.class_weights``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autotune.domain.text import closest
from autotune.errors import DataError
from autotune.trial.tasks.base import is_evaluated


def class_weights(
    weights: str | Mapping[str, float], label_names: Sequence[str], labels: np.ndarray
) -> list[float]:
    """The weight of each of ``label_names``: 1 for those that ``weights`` does not name. With
    ``balanced`` they are inversely proportional to the frequencies of the classes in ``labels``,
    those of train, over which their mean is 1 (as in scikit-learn).

    :raises DataError: a name is no label.
    """
    if isinstance(weights, str):
        counts = np.bincount(labels[is_evaluated(labels)], minlength=len(label_names))
        present = counts > 0
        shares = counts.sum() / (present.sum() * np.maximum(counts, 1))
        return [float(weight) for weight in np.where(present, shares, 1.0)]
    for name in weights:
        if name not in label_names:
            match = closest(name, label_names) or label_names[0]
            raise DataError(
                f"task.class_weights: {name!r} is no label of the data",
                hint=f"task.class_weights: {{{match}: {weights[name]:g}}}",
            )
    return [float(weights.get(name, 1.0)) for name in label_names]
