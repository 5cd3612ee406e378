"""A data set in a config against what is on disk: labels, objects, images and evaluators, found before training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from swinv2_dense.checks import config as preflight
from swinv2_dense.errors import UserError

pytest.importorskip("mmdet", reason="needs the det extra")

TRAIN = "annotations/instances_train2017.json"
VAL = "annotations/instances_val2017.json"


def edit(root: Path, change: Callable[[dict[str, Any]], Any], file: str = TRAIN) -> None:
    content = json.loads((root / file).read_text())
    change(content)
    (root / file).write_text(json.dumps(content))


@pytest.fixture
def cfg(config: Path, tmp_path: Path) -> Config:
    cfg = Config.fromfile(config)
    cfg.update(work_dir=str(tmp_path / "work"), launcher="none")
    return cfg


def told(cfg: Config, *splits: str) -> str:
    with pytest.raises(UserError) as error:
        preflight.check(cfg, splits or ("train", "val"))
    return str(error.value)


def swap(content: dict[str, Any]) -> None:
    content["categories"].reverse()


def each(**values: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for annotation in content["annotations"]:
            annotation.update(values)

    return change


def first(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][0].update(values)


@pytest.mark.parametrize(
    ("change", "file", "parts"),
    [
        (
            swap,
            TRAIN,
            ["train2017.json has its categories in another order", "'star' in the file", "prepare coco order"],
        ),
        (swap, VAL, ["val2017.json has its categories in another order", "val_dataloader.dataset"]),
        (each(area=0), TRAIN, ["has no object to train on", "area 0: "]),
        (each(iscrowd=1, segmentation=None), TRAIN, ["has boxes but no masks", "coco/dino_swinv2_t"]),
        (first(segmentation=[]), TRAIN, ["no mask: ", "image 1, annotation 1"]),
        (first(iscrowd=None), VAL, ["no iscrowd: "]),
        (first(bbox=[]), TRAIN, ["box not x, y, width, height"]),
        (first(bbox=[5, 5, -3, 9]), TRAIN, ["box of negative size"]),
        (first(segmentation=[[1, 1, 1e9, 1, 5, 5]]), TRAIN, ["polygon outside the image"]),
        (first(id=2), TRAIN, ["id of annotations not unique: "]),
        (first(image_id="1"), TRAIN, ["unknown image, or one without a size"]),
        (lambda c: c["images"][0].update(id=2), TRAIN, ["id of images not unique"]),
        (
            lambda c: c["images"][0].update(file_name="../../x.jpg"),
            TRAIN,
            ["name that leaves the folder", "../../x.jpg"],
        ),
        (lambda c: c["images"][0].update(height=60000, width=60000), VAL, ["image too large", "max_image_pixels"]),
        (lambda c: c["categories"][1].update(name="circle"), TRAIN, ["category name not unique", "circle"]),
        (lambda c: c["images"].clear(), VAL, ["lists no images"]),
    ],
)
def test_mistakes_in_annotations(
    change: Callable[[dict[str, Any]], Any], file: str, parts: list[str], cfg: Config, coco: Path
) -> None:
    edit(coco, change, file)
    line = told(cfg)
    for part in parts:
        assert part in line
    assert Path(file).name in line


def test_what_there_is_of_every_class_is_printed_once(cfg: Config, capsys: pytest.CaptureFixture[str]) -> None:
    preflight.check(cfg, ("train", "val", "test"))
    said = capsys.readouterr().out
    assert said.count("circle") == 1
    assert "train_dataloader.dataset: 4 images" in said


def test_a_class_without_objects_is_a_warning(cfg: Config, coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(coco, lambda c: c.update(annotations=[a for a in c["annotations"] if a["category_id"] != 4]))
    preflight.check(cfg, ("train",))
    assert "has no object of 1 of 4 classes: star" in capsys.readouterr().err


def test_images_that_filters_leave_out(cfg: Config) -> None:
    cfg.train_dataloader.dataset.filter_cfg = {"filter_empty_gt": True, "min_size": 500}
    assert "none of the 4 images" in told(cfg)


def test_run_lengths_need_the_loader_that_reads_them(cfg: Config, coco: Path) -> None:
    def runs(content: dict[str, Any]) -> None:
        image = content["images"][0]
        size = [image["height"], image["width"]]
        objects = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        objects[0]["segmentation"] = {"size": size, "counts": [10, 20, size[0] * size[1] - 30]}

    edit(coco, runs)
    preflight.check(cfg, ("train",))  # bitmaps: mmdet's loader reads them
    loading = cfg.train_dataloader.dataset.pipeline[1]
    loading.poly2mask = False
    line = told(cfg)
    assert "1 single objects as run lengths" in line
    assert "swinv2_dense.LoadInstances" in line
    loading.type = "swinv2_dense.LoadInstances"
    preflight.check(cfg, ("train",))


def test_validation_has_the_classes_of_training(cfg: Config) -> None:
    cfg.val_dataloader.dataset.metainfo = {"classes": ("star", "circle", "triangle", "square")}
    assert "val2017.json has its categories in another order" in told(cfg)
    cfg.val_dataloader.dataset.metainfo = {"classes": ("circle")}
    assert "is a string and no file of names" in told(cfg)


def test_the_evaluator_reads_the_same_file(cfg: Config, coco: Path) -> None:
    cfg.val_evaluator.ann_file = str(coco / TRAIN)
    assert "val_evaluator.ann_file is" in told(cfg)


def test_turned_photographs_are_annotated_as_they_are_shown(cfg: Config, coco: Path) -> None:
    path = coco / "train2017" / "000000000002.jpg"
    with Image.open(path) as image:
        pixels = np.asarray(image)[:40]
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    height, width = pixels.shape[:2]
    edit(coco, lambda c: c["images"][1].update(height=height, width=width))
    edit(coco, lambda c: c.update(annotations=[a for a in c["annotations"] if a["image_id"] != 2]))
    assert "its EXIF orientation turns it" in told(cfg)
    edit(coco, lambda c: c["images"][1].update(height=width, width=height))
    preflight.check(cfg, ("train",))


def test_dot_files_and_links_to_nothing_in_a_folder_do_not_matter(cfg: Config, coco: Path) -> None:
    (coco / "train2017" / "._000000000001.jpg").write_bytes(b"")
    (coco / "train2017" / "gone.jpg").symlink_to("nothing.jpg")
    preflight.check(cfg, ("train",))
    image = coco / "train2017" / "000000000001.jpg"
    image.unlink()
    image.symlink_to("nothing.jpg")
    assert "lacks 1 of the 4 images" in told(cfg)


@pytest.mark.parametrize(
    "change", [lambda content: content.pop("annotations"), lambda content: content.update(annotations=[])]
)
def test_without_objects_predictions_are_written_but_not_scored(
    cfg: Config, coco: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    """COCO's test images have no annotations; scored, every number would be -1."""
    edit(coco, change, VAL)
    line = told(cfg, "test")
    assert "annotations" in line and VAL in line
    cfg.test_evaluator.update(format_only=True, outfile_prefix="a")
    preflight.check(cfg, ("test",))
