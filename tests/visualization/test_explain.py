"""The drawings: heat where the tokens are, and windows where the blocks really cut."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from swinv2_dense.layers import window_grid
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from swinv2_dense.visualization.explain import (
    draw_cams,
    draw_windows,
    grids,
    heat,
    hottest,
    strides,
    visible,
    window_of,
)
from swinv2_dense.visualization.grad_cam import Explanation

ARCH = {"embed_dims": 8, "depths": (2, 2), "num_heads": (1, 2)}


def backbone_of(video: bool = False, **options: Any) -> SwinTransformerV2:
    torch.manual_seed(0)
    kind = VideoSwinTransformerV2 if video else SwinTransformerV2
    backbone = kind(ARCH, **{"window_size": 4, "out_indices": (0, 1), **options}).eval()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return backbone


SIZES = [(8, 8), (9, 6), (4, 4), (3, 7), (2, 3), (5, 11)]  # of one, of several, and of partial windows


@pytest.mark.parametrize("pad_attention", ["mask", "zeros"])
@pytest.mark.parametrize("size", SIZES)
def test_windows_are_those_that_tokens_attend_in(size: tuple[int, int], pad_attention: str) -> None:
    """Of every token, the tokens that its output depends on, by autograd."""
    backbone = backbone_of(pad_attention=pad_attention)
    blocks: Any = backbone.get_submodule("layers.0.blocks")
    cuts = list(grids(backbone, 0, size).values())
    assert len(cuts) == 2
    for block, grid in zip(blocks, cuts, strict=True):
        x = torch.randn(1, *size, 8, requires_grad=True)
        out = block.attn(x)
        for token in product(*map(range, size)):
            (gradient,) = torch.autograd.grad(out[0][token].sum(), x, retain_graph=True)
            seen = {tuple(at) for at in gradient[0].abs().sum(-1).nonzero().tolist()}
            window = product(*(range(*span) for span in window_of(token, grid)))
            assert seen == {at for at in window if all(a < s for a, s in zip(at, size, strict=True))}


def test_windows_of_clips() -> None:
    backbone = backbone_of(video=True, window_size=(2, 3, 4))
    size = (3, 4, 6)
    blocks: Any = backbone.get_submodule("layers.1.blocks")
    grid = list(grids(backbone, 1, size).values())[1]
    x = torch.randn(1, *size, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(blocks[1].attn(x)[0, 1, 2, 3].sum(), x)
    seen = gradient[0].abs().sum(-1).nonzero()
    assert window_of((1, 2, 3), grid) == tuple(zip(seen.amin(0).tolist(), (seen.amax(0) + 1).tolist(), strict=True))


def test_what_is_said_of_the_cuts() -> None:
    backbone = backbone_of(window_size=[(4, 4), (2, 8)])
    assert list(grids(backbone, 0, (8, 3))) == [
        "block 0: windows of 4 x 3",
        "block 1: windows of 4 x 3, shifted by 2 x 0",
    ]
    assert list(grids(backbone, 1, (2, 7))) == [
        "block 0: one window of 2 x 7",
        "block 1: one window of 2 x 7, nothing to shift",
    ]
    deep = SwinTransformerV2({"embed_dims": 8, "depths": (9,), "num_heads": (1,)}, window_size=4, out_indices=(0,))
    assert list(grids(deep, 0, (8, 8))) == [
        "blocks 0, 2 ... 8: windows of 4 x 4",
        "blocks 1, 3 ... 7: windows of 4 x 4, shifted by 2 x 2",
    ]


def test_tokens_lie_where_their_pixels_are() -> None:
    cam = 3 * np.arange(3, dtype=np.float32)[:, None] + np.arange(3, dtype=np.float32)
    pixels = heat(cam, (4, 8), (11, 23))  # tokens reach beyond the image
    assert pixels.shape == (11, 23)
    # the middle of token (1, 1) lies between four pixels
    np.testing.assert_allclose(pixels[5:7, 11:13].mean(), cam[1, 1], rtol=1e-2)
    # a pixel further down is a quarter of a token, one to the right an eighth
    np.testing.assert_allclose(np.diff(pixels[2:9], axis=0), 3 / 4, rtol=5e-2)
    np.testing.assert_allclose(np.diff(pixels[:, 4:19], axis=1), 1 / 8, rtol=5e-2)
    np.testing.assert_allclose(heat(np.full((2, 3), 0.5), (4, 8), (7, 20)), 0.5)
    assert pixels[0, 0] == 0 and pixels[-1, -1] <= cam.max()


def test_padding_is_not_visible() -> None:
    backbone = backbone_of()
    assert [strides(backbone, stage) for stage in (0, 1)] == [(4, 4), (8, 8)]
    cam = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(visible(cam, (8, 8), (16, 17)), cam[:2, :3])
    assert hottest(visible(cam, (8, 8), (16, 17))) == (1, 2)
    assert hottest(cam[None]) == (0, 2, 3)
    assert hottest(cam * 0) is None


def rectangles(figure: Figure, index: int) -> list[list[float]]:
    """x1, y1, x2, y2 of the windows in a panel."""
    (collection,) = (c for c in figure.axes[index].collections if isinstance(c, PatchCollection))
    return sorted([*path.vertices.min(0), *path.vertices.max(0)] for path in collection.get_paths())


@pytest.mark.parametrize("pad_attention", ["mask", "zeros"])
def test_windows_are_drawn_over_their_pixels(pad_attention: str) -> None:
    backbone = backbone_of(pad_attention=pad_attention)
    sizes = [tuple(feature.shape[2:]) for feature in backbone(torch.zeros(1, 3, 30, 44))]
    assert sizes == [(8, 11), (4, 6)]
    figure = draw_windows(np.zeros((30, 44, 3), np.uint8), backbone, sizes, {0: (5, 9)})
    wide = 12 if pad_attention == "zeros" else 11
    for index, (size, window, shifted, stride) in enumerate(
        [((8, wide), 4, False, 4), ((4, 8 if wide == 12 else 6), 4, False, 8), ((8, wide), 4, True, 4)]
    ):
        grid = window_grid(size, (window, window), shifted=shifted)
        wanted = [
            [left * stride - 0.5, top * stride - 0.5, right * stride - 0.5, bottom * stride - 0.5]
            for (top, bottom), (left, right) in grid.spans()
        ]
        assert rectangles(figure, index) == sorted(wanted)
    window, token = (patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle))
    assert window.get_bbox().bounds == (8 * 4 - 0.5, 4 * 4 - 0.5, (wide - 8) * 4, 16)
    assert token.get_bbox().bounds == (9 * 4 - 0.5, 5 * 4 - 0.5, 4, 4)
    assert not figure.axes[1].patches
    assert [axis.get_title() for axis in figure.axes[:2]] == [
        "stage 0, 8 x 11 tokens\nblock 0: windows of 4 x 4",
        "stage 1, 4 x 6 tokens\nblock 0: windows of 4 x 4",
    ]


def test_a_token_too_small_to_be_seen_gets_a_ring() -> None:
    backbone = backbone_of()
    figure = draw_windows(np.zeros((80, 256, 3), np.uint8), backbone, [(20, 64), (10, 32)], {0: (5, 9), 1: (2, 3)})
    (ring,) = figure.axes[0].lines
    assert ring.get_xydata().tolist() == [[9.5 * 4 - 0.5, 5.5 * 4 - 0.5]]
    assert not figure.axes[1].lines


def test_heat_is_drawn_over_the_image() -> None:
    backbone = backbone_of()
    seen = np.random.default_rng(0).integers(0, 255, (30, 44, 3), dtype=np.uint8)
    cam = np.zeros((8, 11), np.float32)
    cam[3, 5] = 0.02
    found = Explanation({0: cam, 1: np.zeros((4, 6), np.float32)}, 1, "a box of 0.9", ((8, 11), (4, 6)))
    figure = draw_cams(seen, found, backbone, "cat")
    first, stage0, stage1, _ = figure.axes
    assert figure.get_suptitle() == "Grad-CAM for 'cat': a box of 0.9"
    np.testing.assert_array_equal(first.images[0].get_array(), seen)
    drawn = np.asarray(stage0.images[1].get_array())
    np.testing.assert_allclose(drawn, heat(cam, (4, 4), (30, 44)) / 0.02, rtol=1e-6)
    assert (stage0.images[1].get_clim(), stage0.get_title()) == ((0, 1), "stage 0, 8 x 11 tokens")
    assert not stage0.texts
    assert [text.get_text() for text in stage1.texts] == ["nothing speaks for it"]


def test_what_counted_is_marked() -> None:
    backbone = backbone_of()
    seen, cams = np.zeros((32, 32, 3), np.uint8), {1: np.ones((4, 4), np.float32)}
    found = Explanation(cams, 0, "", ((8, 8), (4, 4)), boxes=np.array([[2.0, 3, 20, 30]]))
    (box,) = draw_cams(seen, found, backbone, "cat").axes[0].patches
    assert isinstance(box, Rectangle) and box.get_bbox().bounds == (2, 3, 18, 27)
    region = np.zeros((8, 8), bool)
    region[:, :4] = True
    (outline,) = (
        draw_cams(seen, Explanation(cams, 0, "", ((8, 8), (4, 4)), region=region), backbone, "cat").axes[0].collections
    )
    x = np.concatenate([path.vertices for path in outline.get_paths()])[:, 0]
    np.testing.assert_allclose(x, 15.5)  # between the pixels 15 and 16


def test_of_a_clip_some_frames_are_drawn() -> None:
    backbone = backbone_of(video=True, window_size=(2, 4, 4))
    seen = np.arange(32, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16, 3), np.uint8)
    cams = {0: np.random.default_rng(0).random((16, 4, 4), dtype=np.float32)}
    found = Explanation(cams, 0, "probability 1", ((16, 4, 4), (16, 2, 2)))
    figure = draw_cams(seen, found, backbone, "left")
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:6] == [f"frame {number}" for number in (0, 6, 12, 18, 24, 30)]
    assert [int(axis.images[0].get_array()[0, 0, 0]) for axis in figure.axes[:6]] == [0, 6, 12, 18, 24, 30]
    np.testing.assert_allclose(
        figure.axes[7].images[1].get_array(), heat(cams[0][3], (4, 4), (16, 16)) / cams[0].max(), rtol=1e-6
    )
    windows = draw_windows(seen, backbone, found.sizes, {0: (3, 1, 2)})
    assert windows.axes[0].images[0].get_array()[0, 0, 0] == 6 // 2  # the frame of the token, darkened
    assert windows.axes[0].get_title() == "stage 0, 16 x 4 x 4 tokens\nblock 0: windows of 2 x 4 x 4"
