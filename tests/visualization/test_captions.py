"""Words on images are read on any of them and stay inside."""

from __future__ import annotations

import numpy as np
import pytest

from swinv2_dense.visualization.captions import write_legend, write_words


@pytest.mark.parametrize("ground", [0, 128, 255])
@pytest.mark.parametrize("size", [(200, 300), (1000, 900)])
def test_a_legend_has_light_letters_on_a_dark_plate(ground: int, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), ground, np.uint8)
    write_legend(image, ["sky"], [(200, 30, 30)])
    plate = image[:12, :20].reshape(-1, 3).tolist()
    assert [40, 40, 40] in plate
    assert [30, 30, 200] in plate  # the colour, as BGR
    assert (image[:40, 12:60].min(axis=2) > 200).any()
    assert (image[size[0] // 2 :] == ground).all()


def test_lines_do_not_cover_each_other() -> None:
    one, both = np.full((200, 300, 3), 128, np.uint8), np.full((200, 300, 3), 128, np.uint8)
    write_legend(one, ["gjpqy"])
    write_legend(both, ["gjpqy", "sea"])
    line = int((one != 128).any(axis=(1, 2)).sum())
    assert np.array_equal(both[:line], one[:line])
    assert (both[line : 2 * line] != 128).any()


def test_as_many_lines_as_there_is_room_for() -> None:
    image = np.full((40, 300, 3), 128, np.uint8)
    write_legend(image, [f"class {i}" for i in range(100)])
    assert (image[-2:] == 128).all()


def test_long_words_end_in_dots_inside_the_image() -> None:
    image = np.zeros((30, 90, 3), np.uint8)
    write_words(image, "a name that is far too long", (0, 29), 0.4)
    assert image[:, -3:].max() <= 40  # no letter is cut in two at the edge
    assert image.max() > 200
