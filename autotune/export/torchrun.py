"""Plain torch with the training loop of the trial; ``torchrun`` starts several processes."""

from __future__ import annotations

from collections.abc import Sequence

from autotune.domain import Strategy
from autotune.export.arguments import num_processes
from autotune.export.base import ScriptFormat
from autotune.export.levers import TRIAL_LOOP_GROUPS


def command(strategy: Strategy) -> Sequence[str]:
    """torchrun for several processes. One process, as that of a trial, has no launcher beside it,
    which would run on the cores of the training."""
    count = num_processes(strategy)
    if count == 1:
        return ("python", "train.py")
    return ("torchrun", "--standalone", f"--nproc-per-node={count}", "train.py")


FORMAT = ScriptFormat(
    name="torchrun",
    summary="Fine-tunes in plain torch with the training loop of the trial.",
    template="train_torchrun",
    command=command,
    config=lambda study, trial, examples: {},
    groups=TRIAL_LOOP_GROUPS,
)
