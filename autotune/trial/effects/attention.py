"""Lever ``attention`` on a GPU: which kernels torch may choose for fused attention."""

from __future__ import annotations

import torch


def exclude_cudnn_attention() -> None:
    """Leave flash and memory-efficient kernels to fused attention in bf16 and fp16.

    On Hopper, torch prefers the attention of cuDNN, which compiles a plan for each new shape. That
    took about 70 ms on an H200, three times as long as the rest of a step, for each length of a
    batch. Without a GPU this has no effect.
    """
    torch.backends.cuda.enable_cudnn_sdp(False)
