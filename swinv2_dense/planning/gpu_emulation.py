"""What a GPU would do differently, shown on tensors of the meta device: torch has no autocast and no fused attention
for these."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from swinv2_dense.layers import SwinBlock

__all__ = ["GPUEmulation", "backward"]

# Of CUDA's lists (https://pytorch.org/docs/stable/amp.html) what the models here call.
_MATMUL = (torch.matmul, torch.bmm, torch.addmm, torch.baddbmm, torch.einsum, Tensor.matmul, Tensor.__matmul__)
_IN_HALF = {F.linear, F.multi_head_attention_forward, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, *_MATMUL}
_IN_FLOAT32 = {F.layer_norm, F.group_norm, F.softmax, torch.softmax, Tensor.softmax, F.cross_entropy}
_ALIGNMENT = 16  # entries of a bias's rows, for torch's memory-efficient kernel


class GPUEmulation(TorchFunctionMode):
    """Attention by the memory-efficient kernel, which has a shape function for meta tensors, and optionally autocast.

    Args:
        autocast: the dtype of matrix products, None for no autocast. Copies of weights live until :meth:`end_forward`,
            as autocast keeps them.
        within: a module; outside of it nothing is cast, and its tuple of features leaves it in float32.
    """

    def __init__(self, autocast: torch.dtype | None = None, within: nn.Module | None = None) -> None:
        super().__init__()
        self.dtype = autocast
        self._copies: dict[int, Tensor] | None = {}
        if within is not None:
            self.dtype = None
            # Blocks are entered once more where checkpointing computes them again.
            for module in within.modules():
                if module is within or isinstance(module, SwinBlock):
                    self._switch(module, autocast)
            within.register_forward_hook(lambda _module, _inputs, features: tree_map(_wide, features))

    def _switch(self, module: nn.Module, dtype: torch.dtype | None) -> None:
        before = []

        def enter(*_: Any) -> None:
            before.append(self.dtype)
            self.dtype = dtype

        def leave(*_: Any) -> None:
            self.dtype = before.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

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
