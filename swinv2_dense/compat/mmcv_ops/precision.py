"""The precision that operators compute in."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["computable"]


def computable(t: Tensor) -> Tensor:
    """``t`` in float32, or as it is where it is finer.

    torchvision knows float16 on some devices and bfloat16 on none, and these hold whole pixels only up to 2048 and 256.
    """
    return t if t.dtype in (torch.float32, torch.float64) else t.float()
