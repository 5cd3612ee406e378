"""Parameters and floating-point operations of a model, counted on the meta device: no weights, no arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Complexity", "complexity"]


@dataclass(frozen=True)
class Complexity:
    """``parameters``: how many; ``flops``: floating-point operations of one forward pass, a multiply-add being two."""

    parameters: int
    flops: int


def complexity(build: Callable[[], nn.Module], *input_size: int) -> Complexity:
    """Count what a model made by ``build`` has and does for one input of ``input_size``, e.g. (1, 3, 1024, 1024).

    Counted are matrix products and convolutions, those of attention included, as the paper's tables do (in
    multiply-adds there); norms, activations and the position bias are not.
    """
    with torch.device("meta"):
        model = build().eval()
        x = torch.empty(input_size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(x)
    return Complexity(sum(p.numel() for p in model.parameters()), counter.get_total_flops())
