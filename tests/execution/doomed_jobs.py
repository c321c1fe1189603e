"""Jobs that run until they are killed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from pathlib import Path

from autotune.domain import Completed, Job, Outcome, TrialResult
from autotune.ports import Report


def evaluate(job: Job, report: Report) -> Outcome:
    """Write the process ids, then run without end."""
    directory = Path(job.directory)
    if job.strategy["do"] == "with_child":
        child = subprocess.Popen(["sleep", "600"])
        (directory / "child").write_text(str(child.pid))
    (directory / "pid").write_text(str(os.getpid()))
    if job.strategy["do"] == "holding_the_lock":
        ctypes.PyDLL(None).sleep(600)
    time.sleep(600)
    return Completed(TrialResult())
