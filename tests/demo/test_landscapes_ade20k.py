"""The generated data set: ADE20K's folders and indices, readable by mmseg as such, the same for the same seed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from swinv2_dense.checks.index_maps import check_map, check_pairs
from swinv2_dense.demo.landscapes import CLASSES
from swinv2_dense.demo.landscapes_ade20k import INDICES, write_landscapes_ade20k
from swinv2_dense.errors import UserError

SMALL = {"train": 5, "val": 3, "side": 64}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landscapes") / "data"
    seen: list[int] = []
    assert write_landscapes_ade20k(folder, **SMALL, progress=lambda step, done, total: seen.append(done))
    assert seen == list(range(1, 9))
    return folder


def digest(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("split", "count"), [("training", 5), ("validation", 3)])
def test_pairs_with_indices_of_ade20k(root: Path, split: str, count: int) -> None:
    images, maps = root / "images" / split, root / "annotations" / split
    names = check_pairs(str(images), str(maps))
    assert len(names) == count
    for name in names:
        image = cv2.imread(str(images / f"{name}.jpg"))
        labels = cv2.imread(str(maps / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        check_map(labels, name, image.shape[:2], 150)
        assert set(np.unique(labels)) <= {0, *INDICES.values()}
        assert labels[-1].max() in (INDICES["grass"], INDICES["road"], INDICES["tree"], INDICES["house"])


def test_indices_are_those_of_ade20k() -> None:
    ade = pytest.importorskip("mmseg.datasets.ade", reason="segmentation needs the seg extra")
    names = ade.ADE20KDataset.METAINFO["classes"]
    assert {name: names.index(name) + 1 for name in CLASSES} == INDICES


def test_it_is_written_once_and_the_same_every_time(root: Path, tmp_path: Path) -> None:
    before = digest(root)
    assert not write_landscapes_ade20k(root, **SMALL)
    assert write_landscapes_ade20k(tmp_path / "again", **SMALL)
    assert digest(tmp_path / "again") == before
    assert write_landscapes_ade20k(tmp_path / "again", **SMALL, seed=1)
    assert digest(tmp_path / "again") != before


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not a generated data set"):
        write_landscapes_ade20k(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
