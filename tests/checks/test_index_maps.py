"""Class maps: what is wrong with one is said in one line that names the file; what is right passes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinv2_dense.checks.index_maps import check_listed_pairs, check_map, check_pairs, decode_map, pairs
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
        (np.zeros((4, 5, 3), np.uint8), "image in colours (3 channels), not a map of class indices"),
        (np.zeros((4, 5, 4), np.uint8), "4 channels"),
        (np.zeros((5, 4), np.uint8), "has 4 x 5 pixels, but its image has 5 x 4"),
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
    assert check_pairs(str(pictures), str(maps)) == pairs(str(pictures), str(maps)) == ["a", "b", "sub/c"]
    (maps / "sub" / "c.png").unlink()
    with pytest.raises(UserError, match=r"annotations/sub/c\.png does not exist, .* has its image \(1 of 3"):
        check_pairs(str(pictures), str(maps))
    assert pairs(str(pictures), str(maps)) == ["a", "b"]
    (maps / "sub" / "c.png").touch()
    (pictures / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"images/a\.jpg does not exist, .* has its map"):
        check_pairs(str(pictures), str(maps))


def test_pairs_in_linked_folders_are_seen_as_mmseg_does(tmp_path: Path) -> None:
    folders = pair(tmp_path, "a")
    pair(tmp_path / "store", "b")
    for folder in ("images", "maps"):
        (tmp_path / folder / "link").symlink_to(tmp_path / "store" / folder)
    assert check_pairs(*folders) == ["a", "link/b"]
    (tmp_path / "store" / "maps" / "b.png").unlink()
    with pytest.raises(UserError, match=r"maps/link/b\.png does not exist"):
        check_pairs(*folders)


def pair(root: Path, name: str, image: str = ".jpg", label: str = ".png") -> tuple[str, str]:
    for folder, suffix in (("images", image), ("maps", label)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{name}{suffix}").touch()
    return str(root / "images"), str(root / "maps")


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".png", ".tif"])
def test_images_of_another_suffix_are_not_left_out_in_silence(suffix: str, tmp_path: Path) -> None:
    folders = pair(tmp_path, "a", suffix)
    with pytest.raises(UserError, match=rf"images/a\{suffix} .*img_suffix='\{suffix}'"):
        check_pairs(*folders)
    assert check_pairs(*folders, suffix) == ["a"]
    pair(tmp_path, "b")
    with pytest.raises(UserError, match="do not end with"):
        check_pairs(*folders)


def test_no_pair_at_all(tmp_path: Path) -> None:
    folders = pair(tmp_path, "a", ".txt", ".txt")
    with pytest.raises(UserError, match=r"holds no image that ends with '\.jpg'"):
        check_pairs(*folders)
    (tmp_path / "images" / "a.jpg").touch()
    (tmp_path / "maps" / "a.PNG").touch()
    with pytest.raises(UserError, match=r"maps/a\.png does not exist"):
        check_pairs(*folders)


def test_dot_files_and_links_to_nothing_do_not_matter(tmp_path: Path) -> None:
    folders = pair(tmp_path, "a")
    (tmp_path / "images" / "._a.jpg").touch()
    (tmp_path / "images" / ".a.jpg.swp").touch()
    (tmp_path / "maps" / "gone.png").symlink_to("nothing.png")
    (tmp_path / "images" / "gone.jpg").symlink_to("nothing.jpg")
    assert check_pairs(*folders) == ["a"]


def test_listed_pairs(tmp_path: Path) -> None:
    folders, listed = pair(tmp_path, "a"), tmp_path / "list.txt"
    listed.write_text("a\n\n")
    check_listed_pairs(str(listed), *folders)
    listed.write_text("a\nb.jpg\n")
    with pytest.raises(UserError, match=r"images/b\.jpg\.jpg does not exist, but .*list\.txt lists it \(1 of 2"):
        check_listed_pairs(str(listed), *folders)
    listed.write_text("a\n", encoding="utf-16")
    with pytest.raises(UserError, match="UTF-16"):
        check_listed_pairs(str(listed), *folders)
    listed.write_text("\n")
    with pytest.raises(UserError, match="lists no images"):
        check_listed_pairs(str(listed), *folders)


def test_maps_without_other_and_with_ignored_values() -> None:
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    check_map(labels, "m", (1, 4), classes=3, has_other=False, ignored=(255,))
    check_map(labels, "m", (1, 4), classes=2, ignored=(255,))
    with pytest.raises(UserError, match=r"holds the value 2, but with 2 classes a map has 0 to 1"):
        check_map(labels, "m", (1, 4), classes=2, has_other=False, ignored=(255,))
    with pytest.raises(UserError, match=r"value 255.*LoadIndexMap\(ignored=\(255,\)\)"):
        check_map(labels, "m", (1, 4), classes=3, has_other=False)


@pytest.mark.parametrize(
    ("labels", "told"),
    [(np.full((2, 2), -1, np.int32), "holds the value -1"), (np.full((2, 2), 1.5, np.float32), "holds float32 values")],
)
def test_negative_and_float_maps(labels: np.ndarray, told: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "tiff")
    with pytest.raises(UserError, match=told):
        check_map(decode_map(buffer.getvalue(), "m"), "m", (2, 2), classes=3)


def test_a_bomb_is_refused() -> None:
    with pytest.raises(UserError, match="max_image_pixels=15"):
        decode_map(png(np.zeros((4, 4), np.uint8)), "m", max_pixels=15)
