"""Tiles cover the image and overlap as asked; an object seen by several tiles is one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.inference.tiles import Tile, cut, merge_boxes, owners


@pytest.mark.parametrize(("height", "width"), [(3000, 4000), (512, 513), (100, 2000), (64, 64)])
@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5])
def test_they_cover_the_image(height: int, width: int, overlap: float) -> None:
    tiles = cut(height, width, 512, overlap)
    seen = np.zeros((height, width), bool)
    for tile in tiles:
        assert tile.bottom - tile.top == min(512, height)
        assert tile.right - tile.left == min(512, width)
        seen[tile.top : tile.bottom, tile.left : tile.right] = True
    assert seen.all()
    columns = sorted({tile.left for tile in tiles})
    assert all(after - before <= np.ceil(512 * (1 - overlap)) for before, after in pairwise(columns))


def test_mistakes() -> None:
    for size, overlap in ((16, 0.2), (512, 0.95), (512, -0.1)):
        with pytest.raises(UserError, match="give 32 or more"):
            cut(100, 100, size, overlap)


def test_one_object_in_two_tiles_is_one() -> None:
    tiles = [Tile(0, 0, 100, 100), Tile(80, 0, 180, 100)]
    boxes = np.array([[60, 10, 100, 50], [85, 10, 130, 50], [62, 11, 130, 52], [62, 11, 130, 52.0]], np.float32)
    places = [tiles[0], tiles[1], Tile(0, 0, 180, 100), Tile(0, 0, 180, 100)]
    scores, labels = np.array([0.99, 0.7, 0.8, 0.5], np.float32), np.array([1, 1, 1, 2])
    kept = merge_boxes(boxes, scores, labels, places, (100, 180))
    assert kept.tolist() == [2, 3]  # the part that ends at the first tile's edge has gone in spite of its score
    assert merge_boxes(boxes[:0], scores[:0], labels[:0], [], (100, 180)).tolist() == []


def test_an_object_at_the_edge_of_the_image_stays() -> None:
    boxes = np.array([[0, 0, 20, 20], [0, 0, 60, 60]], np.float32)
    kept = merge_boxes(boxes, np.array([0.6, 0.9]), np.array([0, 0]), [Tile(0, 0, 100, 100)] * 2, (100, 100))
    assert sorted(kept.tolist()) == [0, 1]


def test_each_pixel_belongs_to_the_tile_that_sees_most_around_it() -> None:
    tiles = [Tile(0, 0, 10, 10), Tile(5, 0, 15, 10)]
    owner = owners(10, 15, tiles)
    assert (owner[:, :7] == 0).all()
    assert (owner[:, 8:] == 1).all()
