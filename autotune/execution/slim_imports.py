"""What transformers imports and no encoder needs, kept out of every process. Import it first."""

from __future__ import annotations

import importlib
from unittest.mock import patch

from transformers import utils

# Losses for detecting objects in images match boxes with scipy: 22 MiB in each rank of each trial.
with patch.object(utils, "is_scipy_available", return_value=False):
    importlib.import_module("transformers.loss.loss_utils")
