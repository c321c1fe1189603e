"""Levers that replace keys of a study's task: the pretrained model and the length of samples."""

from __future__ import annotations

from autotune.domain import Range
from autotune.domain.strategy import OF_TASK
from autotune.levers.base import ACCURACY, MEMORY, SCRIPT, SHAPE, SPEED, Lever, Pattern

MODEL = Lever(
    name="model",
    summary="Pretrained model: that of the task, a built-in one, a hub id, or a directory",
    domain=Pattern(r"[\w.~/-][\w.:/@ -]*", "builtin:minilm, builtin:bert-tiny"),
    named_values=(OF_TASK,),
    default=OF_TASK,
    influences=frozenset({SPEED, MEMORY, ACCURACY, SHAPE}),
    effect="autotune.domain.training:task_of",
    exports={SCRIPT: "the model of the task"},
)

MAX_LENGTH = Lever(
    name="max_length",
    summary="Maximum tokens per sample, or that of the task",
    domain=Range(4, 65_536, integer=True),
    named_values=(OF_TASK,),
    default=OF_TASK,
    influences=frozenset({SPEED, MEMORY, ACCURACY, SHAPE}),
    effect="autotune.domain.training:task_of",
    exports={SCRIPT: "max_length of the task"},
)
