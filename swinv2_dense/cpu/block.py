"""A block without gradients on CPUs, in one call of ``block.cpp``, a band of the map after another.

Between two windows a map can be cut, so a band goes through the whole block before the next one does: what the caches
hold is not fetched again, and each linear layer takes along what follows it. ``SwinBlock.forward`` says what is
computed, and when it is computed here.

Asked for bfloat16, by autocast or by the map's type, products are of bfloat16 where the processor gains by it, and of
float32 where it does not; sums, norms and the map inside a block are float32 either way.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula
from torchvision.ops import StochasticDepth

from swinv2_dense.cpu.attention import AttentionCall, Group, flops_of_products, groups_of, holds_offsets
from swinv2_dense.cpu.linear import Layer, bfloat16_is_faster, layer_of
from swinv2_dense.cpu.native import library
from swinv2_dense.layers.block import Mlp, SwinBlock
from swinv2_dense.layers.dispatch import is_transformed, is_untouched
from swinv2_dense.layers.window_attention import WindowAttention
from swinv2_dense.layers.windows import WindowGrid, window_grid

__all__ = ["band_by_band", "only_infers"]

# Tokens of a band, and those of it that the MLP takes at a time: among the powers of two the
# fastest with SwinV2-T at 256 x 256 and at 1024 x 1024.
BAND_TOKENS, MLP_TOKENS = 4096, 1024

# The modules of a block whose work is done here without calling them.
_PARTS: dict[str, type[nn.Module]] = {
    "": SwinBlock,
    "attn": WindowAttention,
    "attn.qkv": nn.Linear,
    "attn.proj": nn.Linear,
    "attn.proj_drop": nn.Dropout,
    "norm1": nn.LayerNorm,
    "mlp": Mlp,
    "mlp.fc1": nn.Linear,
    "mlp.act": nn.GELU,
    "mlp.fc2": nn.Linear,
    "mlp.drop": nn.Dropout,
    "norm2": nn.LayerNorm,
    "norm3": nn.LayerNorm,
    "drop_path": StochasticDepth,
}


def only_infers(block: SwinBlock, x: Tensor) -> bool:
    """Whether no gradients are wanted, nothing is dropped or padded, the modules do what they were made for (none is
    replaced, hooked or patched), and the kernel knows their numbers."""
    parameters: list[Tensor] = []
    modules: list[tuple[str, nn.Module]] = [("", block)]
    for name, module in modules:  # which grows; a third of the time of `named_modules`
        if name not in _PARTS or not is_untouched(module, _PARTS[name]) or module.training:
            return False
        parameters += [p for p in module._parameters.values() if p is not None]
        prefix = f"{name}." if name else ""
        modules += [(prefix + key, child) for key, child in module.named_children() if key != "cpb_mlp"]
    # of the bias network, which is asked for its table both ways, gradients alone matter
    bias_network = list(block.attn.cpb_mlp.parameters())
    if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in [*parameters, *bias_network])):
        return False
    return (
        block.attn.pad_attention == "mask"
        and block.mlp.act.approximate == "none"
        and block.attn.qkv.bias is None
        and not any(p is None for norm in (block.norm1, block.norm2) for p in (norm.weight, norm.bias))
        and _knows(block, x, parameters)
        and not is_transformed(*parameters, *bias_network)
        and not torch._is_functional_tensor(x)  # functionalize takes no operator that writes
    )


def _knows(block: SwinBlock, x: Tensor, parameters: list[Tensor]) -> bool:
    """Whether all is float32, or bfloat16 is asked for, of what may be either."""
    if not all(type(p) in (Tensor, nn.Parameter) for p in parameters):
        return False
    kinds = {x.dtype, *(p.dtype for p in parameters)}
    if not _asks_for_bfloat16(x):
        return kinds == {torch.float32} and not torch.is_autocast_enabled("cpu")
    even = block.attn.qkv.in_features % 2 == block.mlp.fc1.out_features % 2 == 0
    return even and kinds <= {torch.float32, torch.bfloat16}


def _asks_for_bfloat16(x: Tensor) -> bool:
    asked = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return asked == torch.bfloat16


class _Band(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("tokens", "groups")),
        ("group", ctypes.POINTER(Group)),
        ("rows", ctypes.c_void_p),
    )


class _Block(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("bands", "mlp_tokens", "pairs")),
        ("band", ctypes.POINTER(_Band)),
        ("attention", AttentionCall),
        ("layers", Layer * 4),
        *((name, ctypes.c_void_p) for name in ("x", "y")),
    )


@lru_cache(maxsize=64)
def _bands(grid: WindowGrid, batch: int, tokens: int) -> tuple[Any, list[Any]]:
    """The bands of a batch of maps, one after another in memory, and what they refer to."""
    cut = grid.bands(tokens)
    images = max(1, tokens // math.prod(grid.size)) if len(cut) == 1 else 1  # of maps that are one band each
    parts = [(band, min(images, batch - i)) for i in range(0, batch, images) for band in cut]
    bands, kept = (_Band * len(parts))(), []
    for struct, (band, n) in zip(bands, parts, strict=True):
        groups, rows = groups_of(band, n)
        struct.tokens, struct.groups, struct.group, struct.rows = len(rows), len(groups), groups, rows.data_ptr()
        kept.append((groups, rows))
    return bands, kept


# Without custom_op's autograd, which costs more than a small layer.
torch.library.define(
    "swinv2_dense::block_into",
    "(Tensor(a!) y, Tensor x, Tensor[] weights, Tensor?[] biases, Tensor[] norms, float[] eps, Tensor scale, "
    "Tensor table, int[] size, int[] window, bool[] shifted, bool pairs) -> ()",
)
torch.library.register_fake("swinv2_dense::block_into", lambda *_: None)


@torch.library.impl("swinv2_dense::block_into", "cpu")
def _block_into(
    y: Tensor,
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    norms: Sequence[Tensor],
    eps: Sequence[float],
    scale: Tensor,
    table: Tensor,
    size: Sequence[int],
    window: Sequence[int],
    shifted: Sequence[bool],
    pairs: bool,
) -> None:
    """
    Args:
        y, x: B x *size x C, float32.
        weights, biases: of qkv, proj, fc1 and fc2; weights may be bfloat16 with ``pairs``.
        norms, eps: weight and bias of both norms, and what they add to the variance.
        scale, table: as ``cosine_attention`` takes them, float32.
        pairs: whether products are of bfloat16.

    Raises:
        ValueError: they do not fit each other.
    """
    native = library()
    if native is None:
        raise RuntimeError("swinv2_dense::block_into: the CPU kernels are not compiled here")
    (channels, hidden), heads = (len(weights[1]), len(weights[2])), len(scale)
    wanted = [(3 * channels, channels), (channels, channels), (hidden, channels), (channels, hidden)]
    whole = (
        [tuple(w.shape) for w in weights] == wanted
        and y.shape == x.shape == (len(x), *size, channels)
        and channels % heads == 0
        and holds_offsets(table, heads, size, window)
        and all(t.dtype == torch.float32 and t.is_contiguous() for t in (x, y, scale, table))
        and not (pairs and (channels % 2 or hidden % 2))
    )
    if not whole:
        raise ValueError("swinv2_dense::block_into takes contiguous float32 tensors of a block that fit each other")
    grid = window_grid(size, window, shifted=shifted)
    bands, _ = _bands(grid, len(x), BAND_TOKENS)
    attention = AttentionCall(len(size), 0, heads, channels // heads, torch.get_num_threads())
    attention.window[: len(size)] = [(offsets + 1) // 2 for offsets in table.shape[1:]]
    attention.scale, attention.table = scale.data_ptr(), table.data_ptr()
    after = (None, (norms[0], norms[1], eps[0]), None, (norms[2], norms[3], eps[1]))
    layers = (Layer * 4)(
        *(
            layer_of(weight, bias, gelu=i == 2, norm=norm, pairs=pairs)
            for i, (weight, bias, norm) in enumerate(zip(weights, biases, after, strict=True))
        )
    )
    call = _Block(len(bands), MLP_TOKENS, pairs, bands, attention, layers, x.data_ptr(), y.data_ptr())
    native.block(ctypes.byref(call))


@register_flop_formula(torch.ops.swinv2_dense.block_into)
def _flops(_: Any, x: Any, weights: Any, *rest: Any, out_shape: Any = None, **__: Any) -> int:
    size, window, shifted = rest[-4:-1]
    tokens = int(torch.Size(x[:-1]).numel())
    layers = sum(2 * tokens * int(torch.Size(weight).numel()) for weight in weights)
    return layers + flops_of_products(2, x[0], x[-1], window_grid(size, window, shifted=shifted))


def band_by_band(block: SwinBlock, x: Tensor) -> Tensor:
    """B x *size x C -> the same, of what :func:`only_infers`."""
    attn, mlp = block.attn, block.mlp
    grid = attn.grid(x.shape[1:-1])
    bias, scale, table = attn.operands(grid)
    pairs = _asks_for_bfloat16(x) and bfloat16_is_faster()
    weights = [layer.weight.contiguous() for layer in (attn.qkv, attn.proj, mlp.fc1, mlp.fc2)]
    if not pairs:
        weights = [weight.float() for weight in weights]
    y = torch.empty(x.shape, dtype=torch.float32, device="cpu")
    torch.ops.swinv2_dense.block_into(
        y,
        x.float().contiguous(),
        weights,
        [None if b is None else b.float().contiguous() for b in (bias, attn.proj.bias, mlp.fc1.bias, mlp.fc2.bias)],
        [p.float().contiguous() for norm in (block.norm1, block.norm2) for p in (norm.weight, norm.bias)],
        [block.norm1.eps, block.norm2.eps],
        scale.float(),
        table.float().contiguous(),
        grid.size,
        grid.window,
        grid.shifted,
        pairs,
    )
    y = y.to(x.dtype)
    return y if block.norm3 is None else block.norm3(y)
