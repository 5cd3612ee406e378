"""Class maps: what is wrong with one is said in one line that names the file; what is right passes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinv2_dense.checks.index_maps import check_map, check_pairs, decode_map
from swinv2_dense.errors import UserError


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette(list(range(256)) * 3)
    image.save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "P"])
def test_indices_are_read_as_they_are_stored(mode: str) -> None:
    labels = np.arange(151, dtype=np.uint8).reshape(1, 151)
    found = decode_map(png(labels, mode), "map.png")
    assert np.array_equal(found, labels)
    check_map(found, "map.png", (1, 151), classes=150)


def test_values_beyond_8_bits_are_not_cut() -> None:
    found = decode_map(png(np.full((2, 3), 256 + 7, np.uint16)), "map.png")
    with pytest.raises(UserError, match=r"map\.png holds the value 263, but with 150 classes"):
        check_map(found, "map.png", (2, 3), classes=150)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.full((4, 5), 151, np.uint8), "holds the value 151, but with 150 classes a map has 0 (other) to 150"),
        (np.full((4, 5), 255, np.uint8), "holds the value 255"),
        (np.zeros((4, 5, 3), np.uint8), "picture in colours (3 channels), not a map of class indices"),
        (np.zeros((4, 5, 4), np.uint8), "4 channels"),
        (np.zeros((5, 4), np.uint8), "has 4 x 5 pixels, but its picture has 5 x 4"),
    ],
)
def test_wrong_maps_are_told(labels: np.ndarray, told: str) -> None:
    with pytest.raises(UserError) as error:
        check_map(decode_map(png(labels), "a/map.png"), "a/map.png", (4, 5), classes=150)
    assert str(error.value).startswith("a/map.png ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no picture", png(np.zeros((64, 64), np.uint8))[:60]])
def test_broken_files_are_told(content: bytes) -> None:
    with pytest.raises(UserError, match=r"map\.png cannot be decoded"):
        decode_map(content, "map.png")


def test_pairs(tmp_path: Path) -> None:
    pictures, maps = tmp_path / "images", tmp_path / "annotations"
    for name in ("b", "a", "sub/c"):
        for folder, suffix in ((pictures, ".jpg"), (maps, ".png")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}{suffix}").touch()
    (maps / "readme.txt").touch()
    assert check_pairs(str(pictures), str(maps)) == ["a", "b", "sub/c"]
    (maps / "sub" / "c.png").unlink()
    with pytest.raises(UserError, match=r"annotations/sub/c\.png does not exist, .* has its picture \(1 of 3"):
        check_pairs(str(pictures), str(maps))
    (maps / "sub" / "c.png").touch()
    (pictures / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"images/a\.jpg does not exist, .* has its map"):
        check_pairs(str(pictures), str(maps))
