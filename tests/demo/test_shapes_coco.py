"""The generated data set: loadable by COCO's own tools, complete or absent, the same for the same seed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from swinv2_dense.demo import shapes_coco
from swinv2_dense.demo.shapes import CLASSES, GROUNDS
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.errors import UserError

SMALL = {"train": 4, "val": 3, "side": 64}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "data"
    seen: list[int] = []
    assert write_shapes_coco(folder, **SMALL, progress=lambda step, done, total: seen.append(done))
    assert seen == list(range(1, 8))
    return folder


def digest(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("split", "count"), [("train2017", 4), ("val2017", 3)])
def test_coco_tools_load_it_and_agree_on_areas_and_boxes(root: Path, split: str, count: int) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco", reason="pycocotools comes with the det extra")
    coco = pycocotools.COCO(root / "annotations" / f"instances_{split}.json")
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert len(coco.imgs) == count
    assert [bool(coco.getAnnIds(image_id)) for image_id in (1, 2, 3)] == [True, True, False]
    assert [a["image_id"] for a in coco.anns.values() if a["iscrowd"]] == [2]
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert abs(mask.sum() - annotation["area"]) <= 0.2 * annotation["area"] + 5
        rows, columns = np.nonzero(mask)
        x, y, w, h = annotation["bbox"]
        drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(drawn - [x, y, x + w, y + h]).max() <= 3  # the tip of a star may be too thin for a pixel


def test_images_and_maps_have_the_sizes_and_labels_the_annotations_tell(root: Path) -> None:
    content = json.loads((root / "annotations" / "instances_train2017.json").read_text())
    for image in content["images"]:
        size = (image["height"], image["width"])
        assert all(48 <= side <= 64 for side in size)
        assert cv2.imread(str(root / "train2017" / image["file_name"])).shape == (*size, 3)
        name = image["file_name"].replace(".jpg", ".png")
        labels = cv2.imread(str(root / "stuffthingmaps" / "train2017" / name), cv2.IMREAD_UNCHANGED)
        assert labels.shape == size and labels.dtype == np.uint8
        present = {a["category_id"] - 1 for a in content["annotations"] if a["image_id"] == image["id"]}
        grounds = set(np.unique(labels).tolist()) - present
        assert len(grounds) == 1 and grounds < set(range(len(CLASSES), len(CLASSES) + len(GROUNDS)))


def test_run_lengths_restore_the_mask() -> None:
    rng = np.random.default_rng(0)
    for mask in (rng.random((5, 7)) > 0.5, np.ones((2, 3), bool), np.zeros((2, 3), bool)):
        counts = shapes_coco._run_lengths(mask)
        cells = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        assert np.array_equal(cells.reshape(mask.shape, order="F"), mask)


def test_it_is_written_once_and_the_same_every_time(root: Path, tmp_path: Path) -> None:
    before = digest(root)
    assert not write_shapes_coco(root, **SMALL)
    assert write_shapes_coco(tmp_path / "again", **SMALL)
    assert digest(tmp_path / "again") == before
    assert write_shapes_coco(tmp_path / "again", **SMALL, seed=1)
    assert digest(tmp_path / "again") != before


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("mine")
    with pytest.raises(UserError, match="not a generated data set"):
        write_shapes_coco(tmp_path / "photos", **SMALL)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "mine"


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(step: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shapes_coco(tmp_path / "data", **SMALL, progress=stop)
    assert list(tmp_path.iterdir()) == []
