"""Plain torch under ``torchrun``: the training loop of the trial, in one process or several."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.domain import Strategy
from autotune.export.arguments import num_processes
from autotune.export.base import ScriptFormat
from autotune.export.levers import TRIAL_LOOP_GROUPS


def command(strategy: Strategy) -> Sequence[str]:
    return ("torchrun", "--standalone", f"--nproc-per-node={num_processes(strategy)}", "train.py")


FORMAT = ScriptFormat(
    name="torchrun",
    summary="Fine-tunes in plain torch with the training loop of the trial.",
    template="train_torchrun",
    command=command,
    config=lambda study, trial, examples: {},
    groups=TRIAL_LOOP_GROUPS,
)
