"""Which position biases a demo shows: those of the heads that learnt most of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from swinv2_dense.demo.drawings import draw_biases
from swinv2_dense.layers.log_cpb import LogCPB
from swinv2_dense.models import SwinTransformerV2

__all__ = ["bias_tables", "draw_learnt_biases"]


def draw_learnt_biases(path: Path, backbones: dict[str, SwinTransformerV2], rows: int = 4) -> None:
    """The heads of the first backbone whose biases vary most over the window, one block each, in all backbones."""
    first = bias_tables(next(iter(backbones.values())))
    strongest = {block: max(range(len(heads)), key=lambda h: heads[h].std()) for block, heads in first.items()}
    chosen = sorted(sorted(strongest, key=lambda block: -first[block][strongest[block]].std())[:rows])
    tables = {title: bias_tables(backbone) for title, backbone in backbones.items()}
    columns = {title: [table[block][strongest[block]] for block in chosen] for title, table in tables.items()}
    draw_biases(path, columns, [f"stage {s}, block {b}, head {strongest[s, b]}" for s, b in chosen])


@torch.inference_mode()
def bias_tables(backbone: SwinTransformerV2) -> dict[tuple[int, int], np.ndarray]:
    """(stage, block) -> heads x (2W-1) x (2W-1) by key minus query, where the window is the first stage's."""
    tables = {}
    for name, module in backbone.named_modules():
        if isinstance(module, LogCPB):
            stage, block = (int(part) for part in name.split(".")[1:4:2])  # layers.STAGE.blocks.BLOCK.attn.cpb_mlp
            window = backbone.window_size[stage]
            if window == backbone.window_size[0]:
                # The network is asked by query minus key; seen from the query, the key is on the other side.
                tables[stage, block] = module(window).flip(1, 2).numpy()
    return tables
