"""What a TIFF's header says about its bands is what tifffile and OpenCV then decode."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from swinv2_dense.checks.tiff_bands import bands_last, read_bands
from swinv2_dense.errors import UserError
from tests.tiffs import write_tiff

tifffile = pytest.importorskip("tifffile", reason="needs tifffile")


@pytest.mark.parametrize("count", [2, 3, 4, 6, 13])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("suffix", [".tif", ".TIFF"])
def test_bands_are_put_last(tmp_path: Path, count: int, planar: bool, dtype: type, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    image = write_tiff(path, count, dtype, planar=planar)
    for bands in (read_bands(path), read_bands("a.tif", path.read_bytes())):
        assert bands is not None
        assert (bands.size, bands.count, bands.first, bands.dtype) == ((7, 9), count, planar, np.dtype(dtype).name)
        assert np.array_equal(bands_last(tifffile.imread(path), bands), image)


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_colours_are_what_opencv_decodes(
    tmp_path: Path, count: int, planar: bool, dtype: type, photometric: str
) -> None:
    if photometric == "rgb" and count != 3:
        pytest.skip("a fourth channel is alpha, by which OpenCV multiplies the others")
    path = tmp_path / "a.tif"
    image = write_tiff(path, count, dtype, planar=planar, photometric=photometric)
    bands, decoded = read_bands(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert bands is not None
    assert bands.colours == (decoded.shape == image.shape and np.array_equal(decoded[..., ::-1], image))


def test_grey_and_pages(tmp_path: Path) -> None:
    grey = np.arange(63, dtype=np.uint8).reshape(7, 9)
    tifffile.imwrite(tmp_path / "grey.tif", grey)
    tifffile.imwrite(tmp_path / "pages.tif", np.stack([grey] * 5), photometric="minisblack")
    one, several = read_bands(tmp_path / "grey.tif"), read_bands(tmp_path / "pages.tif")
    assert one is not None
    assert (one.count, one.first, one.colours) == (1, False, True)
    assert several is not None
    assert (several.count, several.first, several.colours) == (5, True, False)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 7, 9, 3), np.uint8), photometric="rgb")
    with pytest.raises(UserError, match=r"stack\.tif is a stack of 5 x 7 x 9 x 3"):
        read_bands(tmp_path / "stack.tif")


def test_of_what_is_no_tiff_nothing_is_known(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((7, 9, 3), np.uint8))
    (tmp_path / "b.tif").write_bytes(b"II*\0 and no more")
    (tmp_path / "c.tif").touch()
    assert [read_bands(tmp_path / name) for name in ("a.png", "b.tif", "c.tif", "gone.tif")] == [None] * 4
    image = np.zeros((2, 3, 4))
    assert bands_last(image, None) is image
