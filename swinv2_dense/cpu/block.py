"""A block without gradients on CPUs, a band of the map after another.

Between two windows a map can be cut, so a band goes through the whole block before the next one does: what the caches
hold is not fetched again, and each linear layer takes along what follows it. ``SwinBlock.forward`` says what is
computed, and when it is computed here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from swinv2_dense.cpu.attention import cpu_attention
from swinv2_dense.cpu.linear import linear
from swinv2_dense.layers.block import Mlp, SwinBlock
from swinv2_dense.layers.dispatch import is_transformed, is_untouched
from swinv2_dense.layers.window_attention import WindowAttention

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
    """Whether no gradients are wanted, nothing is dropped or padded, and the modules do what they were made for:
    none is replaced, hooked or patched."""
    parameters = list(block.parameters())
    if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in parameters)):
        return False
    return (
        all(
            name in _PARTS and is_untouched(m, _PARTS[name]) and not m.training
            for name, m in block.named_modules()
            if not name.startswith("attn.cpb_mlp")  # which both ways ask for its table
        )
        and block.attn.pad_attention == "mask"
        and block.mlp.act.approximate == "none"
        and block.attn.qkv.bias is None
        and not is_transformed(*parameters)
    )


def band_by_band(block: SwinBlock, x: Tensor) -> Tensor:
    """B x *size x C -> the same."""
    attn, mlp = block.attn, block.mlp
    x = x.contiguous()
    grid = attn.grid(x.shape[1:-1])
    bias, scale, table = attn.operands(grid)

    bands = grid.bands(BAND_TOKENS)
    images = max(1, BAND_TOKENS // x.shape[1:-1].numel())  # of maps that are one band each
    rows = [band.size[0] for band in bands]
    out = torch.empty_like(x)
    for image, image_out in zip(x.split(images), out.split(images), strict=True):
        for band, part, to in zip(bands, image.split(rows, dim=1), image_out.split(rows, dim=1), strict=True):
            qkv = linear(part, attn.qkv.weight, bias).unflatten(-1, (3, attn.heads, -1))
            mixed = cpu_attention(qkv, scale, table, band)
            mixed = linear(mixed, attn.proj.weight, attn.proj.bias, norm=block.norm1, residual=part)
            chunks = zip(mixed.flatten(0, -2).split(MLP_TOKENS), to.flatten(0, -2).split(MLP_TOKENS), strict=True)
            for tokens, tokens_out in chunks:
                hidden = linear(tokens, mlp.fc1.weight, mlp.fc1.bias, gelu=True)
                tokens = linear(hidden, mlp.fc2.weight, mlp.fc2.bias, norm=block.norm2, residual=tokens)
                tokens_out.copy_(tokens if block.norm3 is None else block.norm3(tokens))
    return out
