"""SwinV2 on torch alone, for any number of axes, by the kernels of ``cpu/`` where they help. Nothing here knows of
OpenMMLab."""

from swinv2_dense.layers.block import Mlp, SwinBlock, SwinStage
from swinv2_dense.layers.linear import apply_linear
from swinv2_dense.layers.log_cpb import LogCPB, expand_bias
from swinv2_dense.layers.patch import PatchEmbed, PatchMerging
from swinv2_dense.layers.position_bias import POSITION_BIASES, BiasTable, LinearCPB
from swinv2_dense.layers.window_attention import WindowAttention, cosine_attention, cosine_attention_plain
from swinv2_dense.layers.windows import WindowGrid, merge, partition, window_grid

__all__ = [
    "POSITION_BIASES",
    "BiasTable",
    "LinearCPB",
    "LogCPB",
    "Mlp",
    "PatchEmbed",
    "PatchMerging",
    "SwinBlock",
    "SwinStage",
    "WindowAttention",
    "WindowGrid",
    "apply_linear",
    "cosine_attention",
    "cosine_attention_plain",
    "expand_bias",
    "merge",
    "partition",
    "window_grid",
]
