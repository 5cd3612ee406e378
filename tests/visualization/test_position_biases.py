"""The tables that are drawn are the biases that attention adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from swinv2_dense.layers.log_cpb import expand_bias
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from swinv2_dense.visualization import position_biases
from swinv2_dense.visualization.position_biases import bias_tables, draw_biases, draw_biases_by_stage


def share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - colour).max(axis=2) < 25).mean())


def test_bias_tables_are_seen_from_the_query() -> None:
    backbone = SwinTransformerV2(
        {"embed_dims": 8, "depths": (1, 1), "num_heads": (2, 1)}, window_size=[(3, 3), (2, 2)], out_indices=(1,)
    )
    tables = bias_tables(backbone)
    assert list(tables) == [(0, 0), (1, 0)]
    table = tables[0, 0]
    assert table.shape == (2, 5, 5)
    meta_network = backbone.get_submodule("layers.0.blocks.0.attn.cpb_mlp")
    bias = expand_bias(meta_network((3, 3)), (3, 3)).detach()  # head, query, key
    query, key = 1 * 3 + 0, 0 * 3 + 2  # (y, x) = (1, 0) and (0, 2)
    torch.testing.assert_close(torch.from_numpy(table[:, 2 + (0 - 1), 2 + (2 - 0)]), bias[:, query, key])


def test_a_larger_window_is_drawn_around_the_smaller(tmp_path: Path) -> None:
    small, large = np.zeros((7, 7)), np.zeros((15, 15))
    large[0] = 16.0  # the brightest colour of the scale, beyond the small table's reach
    draw_biases(tmp_path / "a" / "biases.png", {"window 4": [small], "window 8": [large]}, ["head 0"])
    image = cv2.cvtColor(cv2.imread(str(tmp_path / "a" / "biases.png")), cv2.COLOR_BGR2RGB)
    left, right = np.split(image[:, : image.shape[1] // 2 * 2], 2, axis=1)
    brightest = (252, 253, 191)
    assert share(right, brightest) > 10 * share(left, brightest)


def small_backbone(**options: Any) -> SwinTransformerV2:
    torch.manual_seed(0)
    arch = {"embed_dims": 8, "depths": (2, 1), "num_heads": (1, 4)}
    backbone = SwinTransformerV2(arch, **{"window_size": [(4, 4), (2, 3)], "out_indices": (1,), **options}).eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return backbone


def test_demos_compare_the_stages_of_the_first_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(position_biases, "draw_biases", lambda *given: drawn.append(given))
    position_biases.draw_learnt_biases(tmp_path / "x.png", {"a": small_backbone(), "b": small_backbone()})
    ((_, columns, rows),) = drawn
    assert rows == ["stage 0, block 0, head 0", "stage 0, block 1, head 0"]
    assert [len(tables) for tables in columns.values()] == [2, 2]


@pytest.mark.parametrize("position_bias", ["log_cpb", "table"])
def test_biases_of_a_map_are_those_of_its_windows(position_bias: str) -> None:
    """Windows that shrink to the map: the table that attention asks for then."""
    backbone = small_backbone(position_bias=position_bias)
    tables = bias_tables(backbone, [(3, 9), (2, 5)])
    assert {key: table.shape for key, table in tables.items()} == {
        (0, 0): (1, 5, 7),
        (0, 1): (1, 5, 7),
        (1, 0): (4, 3, 5),
    }
    asked = backbone.get_submodule("layers.0.blocks.1.attn.cpb_mlp")((3, 4)).detach()
    np.testing.assert_array_equal(tables[0, 1], asked.flip(1, 2).numpy())


def test_every_stage_has_a_row_of_its_most_varied_heads() -> None:
    backbone = small_backbone()
    figure = draw_biases_by_stage(backbone, [(9, 9), (5, 5)])
    panels = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in panels] == [
        *("block 0, head 0", "block 1, head 0"),
        *(f"block 0, head {head}" for head in range(4)),
    ]
    assert [axis.get_ylabel() for axis in panels if axis.get_ylabel()] == [
        "stage 0, window 4 x 4",
        "stage 1, window 2 x 3",
    ]
    np.testing.assert_array_equal(panels[1].images[0].get_array(), bias_tables(backbone)[0, 1][0])
    assert {axis.images[0].get_clim() for axis in panels[2:]} == {
        (bias_tables(backbone)[1, 0].min(), bias_tables(backbone)[1, 0].max())
    }


def test_of_clips_the_biases_of_the_same_time_are_drawn() -> None:
    arch = {"embed_dims": 8, "depths": (1,), "num_heads": (1,)}
    backbone = VideoSwinTransformerV2(arch, window_size=(3, 2, 4), out_indices=(0,)).eval()
    figure = draw_biases_by_stage(backbone, [(4, 8, 8)])
    table = bias_tables(backbone)[0, 0]
    assert table.shape == (1, 5, 3, 7)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), table[0, 2])
    assert figure.get_suptitle().endswith("between tokens of the same time")
