"""The tables that are drawn are the biases that attention adds."""

from __future__ import annotations

import torch

from swinv2_dense.demo.biases import bias_tables
from swinv2_dense.layers.log_cpb import expand_bias
from swinv2_dense.models import SwinTransformerV2


def test_bias_tables_are_seen_from_the_query() -> None:
    backbone = SwinTransformerV2(
        {"embed_dims": 8, "depths": (1, 1), "num_heads": (2, 1)}, window_size=[(3, 3), (2, 2)], out_indices=(1,)
    )
    tables = bias_tables(backbone)
    assert list(tables) == [(0, 0)]  # the other stage's window is a smaller one
    table = tables[0, 0]
    assert table.shape == (2, 5, 5)
    meta_network = backbone.get_submodule("layers.0.blocks.0.attn.cpb_mlp")
    bias = expand_bias(meta_network((3, 3)), (3, 3)).detach()  # head, query, key
    query, key = 1 * 3 + 0, 0 * 3 + 2  # (y, x) = (1, 0) and (0, 2)
    torch.testing.assert_close(torch.from_numpy(table[:, 2 + (0 - 1), 2 + (2 - 0)]), bias[:, query, key])
