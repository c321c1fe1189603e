"""What the forkserver imports once, so that no trial waits for these imports.

Imports only: no tensor is made and no thread is started, because threads do not survive a fork.
"""

from __future__ import annotations

import importlib
from unittest.mock import patch

from transformers import utils

# The losses of object detection match boxes with scipy, which costs 22 MiB in each rank of each
# trial. No encoder needs them, so the module is imported as if scipy were not installed.
with patch.object(utils, "is_scipy_available", return_value=False):
    importlib.import_module("transformers.loss.loss_utils")

# isort: split
import safetensors.torch
import torch.profiler
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.models.bert import modeling_bert

# transformers computes this mapping when the first model is loaded, and caches it.
get_checkpoint_conversion_mapping("bert")  # type: ignore[no-untyped-call]

__all__ = [
    "AutoConfig",
    "AutoModelForSequenceClassification",
    "AutoTokenizer",
    "modeling_bert",
    "safetensors",
    "torch",
]
