"""What the forkserver imports once, so that no trial pays for it.

Imports only: no tensor is made and no thread started, since threads do not survive a fork.
"""

from __future__ import annotations

import autotune.execution.slim_imports

# isort: split
import safetensors.torch
import torch.profiler
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.models.bert import modeling_bert

# Computed once and kept by transformers: every model that is loaded asks for it.
get_checkpoint_conversion_mapping("bert")  # type: ignore[no-untyped-call]

__all__ = [
    "AutoConfig",
    "AutoModelForSequenceClassification",
    "AutoTokenizer",
    "autotune",
    "modeling_bert",
    "safetensors",
    "torch",
]
