"""What a GPU would do differently, shown on tensors of the meta device: torch has no autocast and no fused attention
for these."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

__all__ = ["AsOnGPU", "backward"]

# Of CUDA's lists (https://pytorch.org/docs/stable/amp.html) what the models here call.
_MATMUL = (torch.matmul, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum, Tensor.matmul, Tensor.__matmul__)
_IN_HALF = {F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, *_MATMUL}
_IN_FLOAT32 = {F.layer_norm, F.group_norm, F.softmax, torch.softmax, Tensor.softmax, F.cross_entropy}
_ALIGNMENT = 16  # entries of a bias's rows, for torch's memory-efficient kernel


class AsOnGPU(TorchFunctionMode):
    """Attention by the memory-efficient kernel, which has a shape function for meta tensors, and optionally autocast.

    Args:
        autocast: the dtype of matrix products, None for no autocast. Copies of weights live until :meth:`end_forward`,
            as autocast keeps them.
    """

    def __init__(self, autocast: torch.dtype | None = None) -> None:
        super().__init__()
        self.dtype = autocast
        self._copies: dict[int, Tensor] | None = {}

    def end_forward(self) -> None:
        """From here on each recomputation makes copies of its own, as checkpointing does."""
        self._copies = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if self.dtype is not None and func in _IN_HALF:
            args, kwargs = tree_map(self._half, (args, kwargs))
        elif self.dtype is not None and func in _IN_FLOAT32:
            args, kwargs = tree_map(_wide, (args, kwargs))
        return func(*args, **kwargs)

    def _half(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or x.dtype != torch.float32:
            return x
        if self._copies is None or not isinstance(x, nn.Parameter):
            return x.to(self.dtype)
        if id(x) not in self._copies:
            self._copies[id(x)] = x.to(self.dtype)
        return self._copies[id(x)]

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, scale: float | None = None, **_: Any
    ) -> Tensor:
        if self.dtype is not None:
            q, k, v, attn_mask = (self._half(x) for x in (q, k, v, attn_mask))
        if attn_mask is not None:
            keys = attn_mask.shape[-1]
            if keys % _ALIGNMENT:
                attn_mask = F.pad(attn_mask, (0, -keys % _ALIGNMENT))[..., :keys]
            attn_mask = attn_mask.expand(*q.shape[:2], -1, -1)
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention
        return efficient(q, k, v, attn_mask, True, 0.0, False, scale=scale)[0]


def _wide(x: Any) -> Any:
    return x.float() if isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16) else x


def backward(loss: Tensor) -> None:
    """``loss.backward()``, which would switch a TorchFunctionMode off, and with it what checkpointing recomputes."""
    torch.autograd.Variable._execution_engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )
