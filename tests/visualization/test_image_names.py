"""Drawn images keep their folders; bands that are no colours are shown by the first three."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.visualization.image_names import displayed, read_displayed, relative_name
from tests.tiffs import write_tiff


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


def test_files_are_read_as_they_are_shown(tmp_path: Path) -> None:
    pytest.importorskip("mmcv", reason="needs mmcv")
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 5, 3), (10, 20, 30), np.uint8))
    assert read_displayed(str(tmp_path / "a.png"))[0, 0].tolist() == [30, 20, 10]
    cv2.imwrite(str(tmp_path / "b.tif"), np.full((4, 5, 4), 9, np.uint8))
    assert read_displayed(str(tmp_path / "b.tif")).shape == (4, 5, 3)


@pytest.mark.parametrize("count", [2, 3, 4, 6])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiffs_of_any_bands_are_shown(tmp_path: Path, count: int, planar: bool, dtype: type) -> None:
    pytest.importorskip("mmcv", reason="needs mmcv")
    image = write_tiff(tmp_path / "a.tif", count, dtype, planar=planar)
    assert np.array_equal(read_displayed(str(tmp_path / "a.tif")), displayed(image))


@pytest.mark.parametrize("content", [b"no image", b"", b"II*\0", b"II*\0" + b"\xff" * 100, b"MM\0*" + b"\0" * 100])
@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_what_no_decoder_reads_is_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    pytest.importorskip("mmcv", reason="needs mmcv")
    (tmp_path / f"c{suffix}").write_bytes(content)
    with pytest.raises(UserError, match=rf"c\{suffix} cannot be decoded"):
        read_displayed(str(tmp_path / f"c{suffix}"))


def test_detections_of_one_name_in_two_folders_are_two_files(tmp_path: Path, clean_run: None) -> None:
    pytest.importorskip("mmdet", reason="needs the det extra")
    from mmengine.visualization import Visualizer

    from swinv2_dense.visualization.detections import DetectionsHook

    files: list[str] = []
    for folder in ("one", "two"):
        (tmp_path / "val" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "val" / folder / "a.jpg"), np.zeros((4, 5, 3), np.uint8))
    runner = SimpleNamespace(
        work_dir=str(tmp_path),
        timestamp="now",
        test_dataloader=SimpleNamespace(dataset=SimpleNamespace(data_prefix={"img": str(tmp_path / "val")})),
        visualizer=SimpleNamespace(add_datasample=lambda *args, out_file, **options: files.append(out_file)),
    )
    Visualizer.get_instance("drawn")  # mmdet's hook asks for one
    hook = DetectionsHook(draw=True, test_out_dir=str(tmp_path / "out"))
    samples = [SimpleNamespace(img_path=str(tmp_path / "val" / folder / "a.jpg")) for folder in ("one", "two")]
    hook.after_test_iter(runner, 0, None, samples)
    assert files == [str(tmp_path / "out" / folder / "a.jpg") for folder in ("one", "two")]
    DetectionsHook().after_test_iter(runner, 0, None, samples)
    assert len(files) == 2
