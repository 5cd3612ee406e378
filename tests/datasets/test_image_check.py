"""CheckImage refuses what would be decoded to something else than it is, and lets everything else pass unchanged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from swinv2_dense.errors import UserError
from tests.tiffs import write_tiff

pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.transforms import LoadImageFromFile
from mmengine.registry import TRANSFORMS

from swinv2_dense.datasets.image_check import CheckImage


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_it_is_found_by_name() -> None:
    assert isinstance(TRANSFORMS.build({"type": "swinv2_dense.CheckImage", "max_pixels": 5}), CheckImage)


def test_what_is_right_passes_unchanged(image: Path) -> None:
    for results in ({"img_path": str(image)}, {"img_path": str(image), "height": 30, "width": 40}):
        assert CheckImage()(dict(results)) == results
    for other in ("a.png", np.zeros((2, 2, 3)), {"img": 1}, {"img_path": None}, {"img_path": "s3://a/b.png"}):
        assert CheckImage()(other) is other


def test_what_is_wrong_names_the_file(image: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.png has 40 x 30 pixels, but 30 x 40 in the annotations"):
        CheckImage()({"img_path": str(image), "height": 40, "width": 30})
    with pytest.raises(UserError, match=r"a\.png has more pixels than max_image_pixels=1,199"):
        CheckImage(max_pixels=1199)({"img_path": str(image)})
    cv2.imwrite(str(image), np.full((30, 40, 3), 4080, np.uint16))
    with pytest.raises(UserError, match=r"a\.png has more than 8 bits"):
        CheckImage()({"img_path": str(image)})
    assert CheckImage(colours=False)({"img_path": str(image)})
    image.write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.png is an empty file"):
        CheckImage()({"img_path": str(image)})


@pytest.mark.parametrize("count", [2, 4, 6])
@pytest.mark.parametrize("planar", [False, True])
def test_tiffs_of_other_bands_than_colours_pass_where_they_are_loaded_whole(
    count: int, planar: bool, tmp_path: Path
) -> None:
    write_tiff(tmp_path / "a.tif", count, np.uint16, planar=planar)
    results = {"img_path": str(tmp_path / "a.tif"), "height": 7, "width": 9}
    assert CheckImage(colours=False, whole=True, channels=count)(results) is results
    for check in (CheckImage(), CheckImage(colours=False)):
        with pytest.raises(UserError, match=rf"a\.tif has {count} bands of uint16, .* imdecode_backend='tifffile'"):
            check(results)
    with pytest.raises(UserError, match=rf"has {count} bands, and the model takes 5: set model.backbone.in_channels"):
        CheckImage(colours=False, whole=True, channels=5)(results)
    with pytest.raises(UserError, match=r"more pixels than max_image_pixels=62"):
        CheckImage(62, colours=False, whole=True)(results)
    results["height"] = 8
    with pytest.raises(UserError, match=r"a\.tif has 9 x 7 pixels, but 9 x 8 in the annotations"):
        CheckImage(colours=False, whole=True)(results)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_tiffs_of_deep_colours_are_not_loaded_as_8_bits(dtype: type, tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", 3, dtype)
    with pytest.raises(UserError, match=r"a\.tif has 3 bands of (uint16|float32), which loading would not keep"):
        CheckImage()({"img_path": str(tmp_path / "a.tif")})
    assert CheckImage(colours=False)({"img_path": str(tmp_path / "a.tif")})


def test_tiffs_that_another_backend_reads_pass(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tif")
    cv2.imwrite(path, np.zeros((30, 40, 4), np.uint8))
    assert CheckImage(colours=False)({"img_path": path})
    assert LoadImageFromFile(color_type="unchanged")({"img_path": path})["img"].shape == (30, 40, 4)
    Path(path).write_bytes(b"II*\0 whatever another backend reads")
    assert CheckImage(colours=False)({"img_path": path})


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_a_truncated_image_with_a_sound_header_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    """OpenCV decodes a truncated JPEG without an error, the rest in grey."""
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(UserError, match=rf"a\.{suffix} cannot be decoded"):
        CheckImage()({"img_path": str(path)})


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_what_a_camera_appends_to_a_whole_image_does_not_matter(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes() + b"motion" * 1000)
    assert CheckImage()({"img_path": str(path)}) == {"img_path": str(path)}
