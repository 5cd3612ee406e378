"""Drawn images keep their folders; bands that are no colours are shown by the first three."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from swinv2_dense.visualization.image_names import displayed, relative_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/data/val/a.jpg", "a.png"),
        ("/data/val/one/a.JPG", "one/a.png"),
        ("/data/val/two/a.png", "two/a.png.png"),
        ("/data/val/a.tif", "a.tif.png"),
        ("/elsewhere/one/a.jpg", "a.png"),
    ],
)
def test_names_are_below_the_data_sets_folder(path: str, name: str) -> None:
    leaf = SimpleNamespace(data_prefix={"img_path": "/data/val", "seg_map_path": ""})
    wrapped = SimpleNamespace(datasets=[SimpleNamespace(dataset=leaf)])
    for dataset in (leaf, wrapped):
        assert relative_name(path, dataset, ".png") == Path(name)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 6)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_anything_can_be_shown(shape: tuple[int, ...], dtype: type) -> None:
    image = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    shown = displayed(image)
    assert (shown.shape, shown.dtype) == ((4, 5, 3), np.uint8)
    if len(shape) == 3 and shape[-1] >= 3:
        assert np.array_equal(shown, image[..., :3].astype(np.uint8))
    else:
        assert np.array_equal(shown[..., 0], shown[..., 2])


def test_16_bits_are_scaled_and_not_cut() -> None:
    assert displayed(np.array([[0, 2040, 4080]], np.uint16))[0, :, 0].tolist() == [0, 127, 255]
