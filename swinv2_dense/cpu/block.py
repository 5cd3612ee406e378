"""A block without gradients on CPUs, a band of the map after another.

Between two windows a map can be cut, so a band goes through the whole block before the next one does: what the caches
hold is not fetched again, and each linear layer takes along what follows it. ``SwinBlock.forward`` says what is
computed, and when it is computed here.

Asked for bfloat16, by autocast or by the map's type, products are of bfloat16 where the processor gains by it, and of
float32 where it does not; sums, norms and the map inside a block are float32 either way.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torchvision.ops import StochasticDepth

from swinv2_dense.cpu.attention import cpu_attention
from swinv2_dense.cpu.linear import Room, fused_linear, new_memory
from swinv2_dense.layers.block import Mlp, SwinBlock
from swinv2_dense.layers.dispatch import inside_a_mode, is_transformed, is_untouched
from swinv2_dense.layers.window_attention import WindowAttention

__all__ = ["band_by_band", "only_infers"]

# Tokens of a band, and those of it that the MLP takes at a time: among the powers of two the
# fastest with SwinV2-T at 256 x 256 and at 1024 x 1024.
BAND_TOKENS, MLP_TOKENS = 4096, 1024
# Bytes of a tensor whose memory is kept. The queries, keys and values of a band of SwinV2-L take 28 MiB at most.
ROOM = 32 * 2**20
# Tensors in it that are kept, each of its shape: those of all blocks of a model.
_SHAPES = 64

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
    """Whether no gradients are wanted, nothing is dropped or padded, and the modules do what they were made for:
    none is replaced, hooked or patched."""
    parameters: list[Tensor | None] = []
    modules: list[tuple[str, nn.Module]] = [("", block)]
    for name, module in modules:  # which grows; a third of the time of `named_modules`
        if name not in _PARTS or not is_untouched(module, _PARTS[name]) or module.training:
            return False
        parameters += module._parameters.values()
        prefix = f"{name}." if name else ""
        modules += [(prefix + key, child) for key, child in module.named_children() if key != "cpb_mlp"]
    parameters += block.attn.cpb_mlp.parameters()  # which both ways ask for its table
    if torch.is_grad_enabled() and (x.requires_grad or any(p is not None and p.requires_grad for p in parameters)):
        return False
    return (
        block.attn.pad_attention == "mask"
        and block.mlp.act.approximate == "none"
        and block.attn.qkv.bias is None
        and not is_transformed(*parameters)
        and not torch._is_functional_tensor(x)  # functionalize takes no operator that writes
    )


def _in_bfloat16(block: SwinBlock, x: Tensor) -> bool:
    """Whether bfloat16 is asked for, of parameters that the kernels take for it."""
    autocast = torch.is_autocast_enabled("cpu")
    kinds = {torch.float32, torch.bfloat16}
    return (
        (torch.get_autocast_dtype("cpu") if autocast else x.dtype) == torch.bfloat16
        and x.dtype in kinds
        and all(p.dtype in kinds and not is_traceable_wrapper_subclass(p) for p in block.parameters())
        and block.attn.qkv.in_features % 2 == block.mlp.fc1.out_features % 2 == 0
        and not any(p is None for norm in (block.norm1, block.norm2) for p in (norm.weight, norm.bias))
    )


class _Room(threading.local):
    """Memory of a thread for a tensor that lives within a band, kept for the next one: memory that is new to a process
    comes page by page, each cleared by the system."""

    def __init__(self) -> None:
        self.memory: Tensor | None = None
        self.tensors: dict[tuple[Sequence[int], torch.dtype], Tensor] = {}

    def __call__(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        found = self.tensors.get((shape, dtype))
        if found is not None:
            return found
        size = math.prod(shape) * dtype.itemsize
        if size > ROOM:
            return new_memory(shape, dtype)
        with torch.inference_mode(False):  # else it could not be written to outside
            if self.memory is None or self.memory.numel() < size:
                self.memory = new_memory((size,), torch.uint8)
                self.tensors.clear()
            if len(self.tensors) == _SHAPES:
                self.tensors.clear()
            self.tensors[shape, dtype] = self.memory[:size].view(dtype).view(shape)
        return self.tensors[shape, dtype]


_ROOMS = (_Room(), _Room(), _Room())


def band_by_band(block: SwinBlock, x: Tensor) -> Tensor:
    """B x *size x C -> the same."""
    attn, mlp = block.attn, block.mlp
    half = _in_bfloat16(block, x)
    x = x.contiguous()
    grid = attn.grid(x.shape[1:-1])
    bias, scale, table = attn.operands(grid)

    bands = grid.bands(BAND_TOKENS)
    images = max(1, BAND_TOKENS // x.shape[1:-1].numel())  # of maps that are one band each
    rows = [band.size[0] for band in bands]
    rooms: Sequence[Room] = (new_memory,) * 3 if inside_a_mode() else _ROOMS
    last = block.norm3 is None and x.dtype == torch.float32  # whether what the MLP gives is the result
    out = torch.empty_like(x)
    for image, image_out in zip(x.split(images), out.split(images), strict=True):
        for band, part, to in zip(bands, image.split(rows, dim=1), image_out.split(rows, dim=1), strict=True):
            part = part.float() if half else part
            qkv = fused_linear(part, attn.qkv.weight, bias, half=half, room=rooms[0]).unflatten(-1, (3, attn.heads, -1))
            mixed = cpu_attention(qkv, scale, table, band, room=rooms[1])
            mixed = fused_linear(
                mixed, attn.proj.weight, attn.proj.bias, norm=block.norm1, residual=part, half=half, room=rooms[2]
            )
            chunks = zip(mixed.flatten(0, -2).split(MLP_TOKENS), to.flatten(0, -2).split(MLP_TOKENS), strict=True)
            for tokens, tokens_out in chunks:
                hidden = fused_linear(tokens, mlp.fc1.weight, mlp.fc1.bias, gelu=True, half=half, room=rooms[1])
                room = partial(_in_place, tokens_out) if last else rooms[0]
                tokens = fused_linear(
                    hidden, mlp.fc2.weight, mlp.fc2.bias, norm=block.norm2, residual=tokens, half=half, room=room
                )
                if tokens is not tokens_out:
                    tokens_out.copy_(tokens if block.norm3 is None else block.norm3(tokens.to(x.dtype)))
    return out


def _in_place(out: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A :class:`_Room` of one tensor, contiguous and of the shape and dtype that are asked for."""
    return out
