"""The generated data set: ADE20K's folders and indices, labels that fit the pictures, the same for the same seed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import pytest

from swinv2_dense.datasets.ade20k_maps import check_map, check_pairs
from swinv2_dense.datasets.shapes_ade20k import LABELS, write_shapes_ade20k
from swinv2_dense.errors import UserError

SMALL = {"train": 5, "val": 3, "side": 64}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "data"
    seen: list[int] = []
    assert write_shapes_ade20k(folder, **SMALL, progress=seen.append)
    assert seen == list(range(1, 9))
    return folder


def digest(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("split", "count"), [("training", 5), ("validation", 3)])
def test_pairs_with_indices_of_shapes_and_ground(root: Path, split: str, count: int) -> None:
    pictures, maps = root / "images" / split, root / "annotations" / split
    names = check_pairs(str(pictures), str(maps))
    assert len(names) == count
    for name in names:
        picture = cv2.imread(str(pictures / f"{name}.jpg"))
        labels = cv2.imread(str(maps / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        check_map(labels, name, picture.shape[:2], len(LABELS))
        ground = labels == LABELS.index("ground") + 1
        shapes = (labels > 0) & ~ground
        # shapes are painted lighter than the ground that they lie on
        assert picture[shapes].mean() > picture[ground].mean() + 20


def test_some_pictures_have_what_is_no_class(root: Path) -> None:
    labels = cv2.imread(str(root / "annotations" / "training" / "00000002.png"), cv2.IMREAD_UNCHANGED)
    assert (labels == 0).any()


def test_it_is_written_once_and_the_same_every_time(root: Path, tmp_path: Path) -> None:
    before = digest(root)
    assert not write_shapes_ade20k(root, **SMALL)
    assert write_shapes_ade20k(tmp_path / "again", **SMALL)
    assert digest(tmp_path / "again") == before
    assert write_shapes_ade20k(tmp_path / "again", **SMALL, seed=1)
    assert digest(tmp_path / "again") != before


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not a generated data set"):
        write_shapes_ade20k(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
