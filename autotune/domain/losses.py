"""The losses that a study file can name besides that of its task kind.

Plug-ins add them with :func:`autotune.plugins.register_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autotune.domain.registry import Registry


@dataclass(frozen=True)
class LossFunction:
    """``function``, or its ``"module:name"``, is called with logits (fp32) and labels. It returns
    the loss of each label, in the shape of the labels: see :mod:`autotune.trial.loss`."""

    name: str
    function: Callable[..., Any] | str
    summary: str = ""


LOSSES: Registry[LossFunction] = Registry("loss")

TEACHER_OUTPUTS: Mapping[str, str] = {
    "text-classification": "classes",
    "token-classification": "classes",
    "multi-label": "labels",
    "regression": "numbers",
}
"""By kind of task, what the logits of a teacher stand for: one of several classes, labels that are
present or not, or numbers. Other kinds cannot be distilled."""
