"""A stand-in for the kernel of flash-attn on a CPU: torch's attention on one example at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import modeling_flash_attention_utils as flash

from autotune.trial import models

token_counts: list[int] = []
"""The tokens of each call of the kernel without padding."""


def attention(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    """Attention over ``[rows, length, heads, size]``."""
    heads_first = (tensor.transpose(1, 2) for tensor in (query, key, value))
    return functional.scaled_dot_product_attention(*heads_first).transpose(1, 2)


def unpadded_attention(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, **options: Any
) -> Tensor:
    """Attention over ``[tokens, heads, size]``, within the examples that begin and end at
    ``cu_seqlens_q``."""
    token_counts.append(len(q))
    spans = [slice(*pair) for pair in pairwise(cu_seqlens_q.tolist())]
    return torch.cat([attention(q[None, s], k[None, s], v[None, s])[0] for s in spans])


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers and autotune find the stand-in."""
    token_counts.clear()
    kernels = (attention, unpadded_attention, None, flash._pad_input, flash._unpad_input)
    monkeypatch.setattr(flash, "_lazy_imports", lambda *args, **options: kernels)
    state = ("_loaded_implementation", "_flash_fn", "_flash_varlen_fn", "_flash_with_kvcache_fn",
             "_pad_fn", "_unpad_fn", "_process_flash_kwargs_fn",
             "_process_with_kvcache_kwargs_fn")  # fmt: skip
    for name in state:
        monkeypatch.setattr(flash, name, None, raising=False)
    monkeypatch.setattr(PreTrainedModel, "_flash_attn_can_dispatch", lambda *args, **options: True)
    monkeypatch.setattr(models, "find_spec", lambda package: package)
