"""A TIFF that stores band after band is loaded as height x width x bands, and one that does not stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tiffs import write_tiff

pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.transforms import LoadImageFromFile

from swinv2_dense.datasets.tiff_bands import BandsLast
from swinv2_dense.registry import TRANSFORMS


@pytest.mark.parametrize("planar", [False, True])
def test_loaded(tmp_path: Path, planar: bool) -> None:
    image = write_tiff(tmp_path / "a.tif", 6, np.uint16, planar=planar)
    results = {"img_path": str(tmp_path / "a.tif")}
    for step in (
        LoadImageFromFile(color_type="unchanged", imdecode_backend="tifffile"),
        TRANSFORMS.build({"type": "swinv2_dense.BandsLast"}),
    ):
        results = step(results)
    assert np.array_equal(results["img"], image)
    assert results["img_shape"] == results["ori_shape"] == (7, 9)


def test_what_is_elsewhere_stays() -> None:
    results = {"img_path": "s3://a/b.tif", "img": np.zeros((6, 7, 9)), "img_shape": (6, 7)}
    assert BandsLast()(results)["img_shape"] == (6, 7)
