"""Autocast and attention as on a GPU: dtypes, and what lives how long."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from swinv2_dense.planning.gpu_emulation import GPUEmulation, backward
from swinv2_dense.planning.memory_tracker import MemoryTracker


def test_products_in_half_precision_and_norms_in_float32() -> None:
    with torch.device("meta"):
        linear, norm, x = nn.Linear(8, 8), nn.LayerNorm(8), torch.empty(4, 8)
    with GPUEmulation(torch.bfloat16):
        out = linear(x)
        assert out.dtype == torch.bfloat16
        assert norm(out).dtype == torch.float32
    with GPUEmulation():
        assert linear(x).dtype == torch.float32


def test_a_weight_is_copied_once_in_the_forward_pass() -> None:
    with torch.device("meta"):
        linear, x = nn.Linear(64, 64, bias=False), torch.empty(1, 64)
    with GPUEmulation(torch.bfloat16) as gpu, MemoryTracker(linear) as live:
        linear(linear(x))
        assert 64 * 64 * 2 <= live.now.activations < 2 * 64 * 64 * 2
        gpu.end_forward()
        assert live.now.activations < 64 * 64 * 2


def test_what_checkpointing_computes_again_is_as_on_a_gpu_too() -> None:
    with torch.device("meta"):
        linear, x = nn.Linear(8, 8), torch.empty(4, 8)
    dtypes = []

    def block(x: torch.Tensor) -> torch.Tensor:
        out = linear(x)
        dtypes.append(out.dtype)
        return F.gelu(out)

    with GPUEmulation(torch.bfloat16):
        backward(checkpoint(block, x, use_reentrant=False).float().sum())
    assert dtypes == [torch.bfloat16] * 2
    assert linear.weight.grad is not None


def test_the_bias_gets_a_gradient_for_every_window_and_head() -> None:
    """Rows padded to 16 entries, as the memory-efficient kernel needs them."""
    with torch.device("meta"):
        q = torch.empty(5, 2, 10, 32, requires_grad=True)
        bias = torch.empty(1, 2, 10, 10, requires_grad=True)
    with GPUEmulation(), MemoryTracker(nn.Module()) as live:
        backward(F.scaled_dot_product_attention(q, q, q, attn_mask=bias).sum())
    assert bias.grad is not None and bias.grad.shape == bias.shape
    assert max(m.activations for m in live.moments) >= 5 * 2 * 10 * 16 * 4
