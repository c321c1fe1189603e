"""The Python interface: what the commands do, for scripts and notebooks.

The package ``autotune`` offers the same names. Importing it loads no torch.
"""

from __future__ import annotations

from autotune.api.callbacks import Callback
from autotune.api.result import Result, load
from autotune.api.run import search
from autotune.api.study import Study
from autotune.api.tuned_trainer import TunedTrainer, tune
from autotune.client import Client

__all__ = ["Callback", "Client", "Result", "Study", "TunedTrainer", "load", "search", "tune"]
