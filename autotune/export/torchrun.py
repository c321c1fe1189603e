"""Plain torch under ``torchrun``: the loop of the trial, in one process or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autotune.domain import Strategy
from autotune.export.base import ScriptFormat
from autotune.export.levers import CODE, LOOP
from autotune.export.parallelism import kinds, only, processes

ABLE = ("ddp",)


def command(strategy: Strategy) -> Sequence[str]:
    return ("torchrun", "--standalone", f"--nproc-per-node={processes(strategy)}", "train.py")


def refuse(strategy: Strategy) -> Mapping[str, str]:
    return only("torchrun", *ABLE) if kinds(strategy).keys() - {*ABLE} else {}


FORMAT = ScriptFormat(
    name="torchrun",
    summary="Fine-tunes in plain torch: the loop is in `tuned/looping.py`.",
    template="train_torchrun",
    command=command,
    config=lambda study, trial, examples: {},
    arrives={**CODE, **LOOP, "parallelism": "--nproc-per-node; train.py wraps the model"},
    refuse=refuse,
)
