"""Images to predict on are decoded as those that the model was trained on, or refused: never cut, filled or swapped."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from swinv2_dense.errors import UserError
from swinv2_dense.inference.decoding import Decoder, decoder_of, read_image
from swinv2_dense.inference.sources import items, to_image
from tests.tiffs import write_tiff


def test_colours_are_as_opencv_decodes_them(folder: Path, image: np.ndarray, tmp_path: Path) -> None:
    assert np.array_equal(read_image(folder / "a.png"), image)
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(image[:20, :30]).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (30, 20, 3)
    with pytest.raises(UserError, match=r"gone\.png does not exist"):
        read_image(folder / "gone.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("kept", [0.4, 0.8])
def test_a_truncated_image_is_not_predicted_on(tmp_path: Path, suffix: str, kept: float) -> None:
    """OpenCV would fill what is missing in grey."""
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    (item,) = items(path)
    assert item.image is None
    assert "cannot be decoded: it is truncated or no image" in str(item.problem)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_more_than_8_bits_are_not_cut(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), np.full((4, 5, 3)[: 1 + (channels == 3) + 1], 4080, np.uint16))
    (item,) = items(path)
    assert "more than 8 bits" in str(item.problem) or "of uint16" in str(item.problem)


@pytest.mark.parametrize("count", [2, 4, 6])
@pytest.mark.parametrize("planar", [False, True])
def test_bands_of_a_tiff(tmp_path: Path, count: int, planar: bool) -> None:
    image = write_tiff(tmp_path / "a.tif", count, np.uint16, planar=planar)
    with pytest.raises(UserError, match=rf"a\.tif has {count} bands of uint16, and the model was trained on 8-bit"):
        read_image(tmp_path / "a.tif")
    pipeline = [{"type": "LoadImageFromFile", "color_type": "unchanged", "imdecode_backend": "tifffile"}]
    assert np.array_equal(read_image(tmp_path / "a.tif", decoder_of(pipeline, count)), image)
    with pytest.raises(UserError, match=rf"a\.tif has {count} channels, and the model takes 3"):
        read_image(tmp_path / "a.tif", decoder_of(pipeline, 3))
    (tmp_path / "a.tif").write_bytes(b"II*\0 no image")
    with pytest.raises(UserError, match=r"a\.tif cannot be decoded"):
        read_image(tmp_path / "a.tif", decoder_of(pipeline, count))


def test_arrays_have_the_models_channels() -> None:
    whole = Decoder("unchanged", "tifffile", 6)
    bands = np.zeros((4, 5, 6), np.float32)
    assert np.array_equal(to_image(bands, whole), bands)
    with pytest.raises(UserError, match="the array has 3 channels, and the model takes 6"):
        to_image(np.zeros((4, 5, 3), np.uint8), whole)


def test_pipelines_without_a_loader_take_colours() -> None:
    assert decoder_of([{"type": "Resize"}], 3) == Decoder()
