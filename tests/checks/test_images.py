"""Image files as training decodes them: sizes after EXIF, 16 bits, bombs and files that are no images."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from swinv2_dense.checks.images import check_image, read_header
from swinv2_dense.errors import UserError


def photograph(path: Path, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_that_opencv_decodes(orientation: int, suffix: str, tmp_path: Path) -> None:
    path = photograph(tmp_path / f"a{suffix}", orientation)
    assert read_header(path).decoded_size == cv2.imread(str(path), cv2.IMREAD_COLOR).shape[:2]
    assert read_header(path).size == (30, 40)


def test_a_turned_image_is_as_large_as_it_is_shown(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.jpg", 6)
    assert list(check_image(path, "a.jpg", (40, 30))) == []
    (finding,) = check_image(path, "a.jpg", (30, 40), image=7)
    assert (finding.kind, finding.image) == ("another size than annotated", 7)
    assert "EXIF orientation turns it" in finding.detail
    (finding,) = check_image(path, "a.jpg", (31, 40))
    assert "EXIF" not in finding.detail


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_found(channels: int, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    shape = (30, 40, 3) if channels == 3 else (30, 40)
    cv2.imwrite(str(path), np.full(shape, 4080, np.uint16))
    assert cv2.imread(str(path)).max() in (15, 16)  # what training would get
    assert read_header(path).deep
    (finding,) = check_image(path, "a", (30, 40))
    assert finding.kind == "image of more than 8 bits"
    assert next(check_image(path, "a", (30, 40), is_map=True)).kind == "semantic map not 8-bit grey"
    cv2.imwrite(str(path), np.full(shape, 40, np.uint8))
    assert not read_header(path).deep


def bomb(path: Path, side: int = 20000) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    return path


def test_bombs_are_refused_by_their_header_up_to_a_limit_that_is_an_option(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png")
    for pixels in (False, True):
        with pytest.raises(UserError, match=r"bomb\.png has more pixels than max_image_pixels=178,956,970"):
            read_header(path, pixels=pixels)
    limit = Image.MAX_IMAGE_PIXELS
    try:
        assert read_header(path, max_pixels=20000**2).size == (20000, 20000)
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    with pytest.raises(UserError, match="max_image_pixels=1,199"):
        read_header(photograph(tmp_path / "a.png"), max_pixels=1199)


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "is an empty file"), (b"text", "truncated or no image"), (b"\xff\xd8\xff", "no image")]
)
def test_files_that_are_no_images(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.jpg .*{told}"):
        read_header(tmp_path / "a.jpg")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to("nothing.jpg")
    with pytest.raises(UserError, match=r"link\.jpg does not exist, or is a link to nothing"):
        read_header(tmp_path / "link.jpg")
    with pytest.raises(UserError, match="is a folder"):
        read_header(tmp_path)
    assert [f.kind for f in check_image(tmp_path / "link.jpg", "link.jpg", (1, 1))] == ["missing file"]


@pytest.mark.parametrize(("suffix", "by_its_end"), [("jpg", True), ("png", True), ("bmp", False)])
def test_an_image_cut_off_is_found_by_its_end_or_its_pixels(tmp_path: Path, suffix: str, by_its_end: bool) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    if not by_its_end:
        assert read_header(path).size == (64, 64)
    with pytest.raises(UserError, match="truncated"):
        read_header(path, pixels=not by_its_end)
