"""Labels, names and paths of images in class folders, and images without labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mmpretrain", reason="needs the cls extra")

from swinv2_dense.datasets.imagenet import ClassFolderImages, UnlabelledImages
from swinv2_dense.errors import UserError


def write_images(root: Path, names: list[str], per_class: int = 2, size: tuple[int, int] = (40, 36)) -> Path:
    """``per_class`` images in a folder of every name."""
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / name / f"{i}.png")
    return root


def labels(dataset: ClassFolderImages) -> dict[str, int]:
    entries = [dataset.get_data_info(i) for i in range(len(dataset))]
    return {Path(e["img_path"]).parent.name: e["gt_label"] for e in entries}


def test_a_subset_of_imagenet_is_labelled_among_the_1000(tmp_path: Path) -> None:
    write_images(tmp_path / "val", ["n03888257", "n01440764"])
    dataset = ClassFolderImages(num_classes=1000, data_root=str(tmp_path), data_prefix="val")
    assert len(dataset) == 4
    assert labels(dataset) == {"n01440764": 0, "n03888257": 701}
    assert len(dataset.CLASSES) == 1000 and "parachute" in dataset.CLASSES[701]
    assert labels(ClassFolderImages(num_classes=2, data_root=str(tmp_path), data_prefix="val")) == {
        "n01440764": 0,
        "n03888257": 1,
    }


def test_numbers_are_labels(tmp_path: Path) -> None:
    write_images(tmp_path, [str(i) for i in range(12)], 1)
    dataset = ClassFolderImages(num_classes=12, data_root=str(tmp_path))
    assert labels(dataset) == {str(i): i for i in range(12)}


def test_own_classes_bring_their_names(tmp_path: Path) -> None:
    dataset = ClassFolderImages(data_root=str(write_images(tmp_path, ["dog", "cat"])))
    assert dataset.CLASSES == ("cat", "dog")
    assert labels(dataset) == {"cat": 0, "dog": 1}


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, ["dog", "cat"])
    (tmp_path / "eel").mkdir()
    with pytest.raises(UserError, match="eel holds no images"):
        ClassFolderImages(data_root=str(tmp_path))


def test_unlabelled_images_are_all_that_lie_below(tmp_path: Path) -> None:
    write_images(tmp_path, ["a", "b/c"])
    dataset = UnlabelledImages(data_root=str(tmp_path))
    assert [Path(dataset.get_data_info(i)["img_path"]).relative_to(tmp_path).as_posix() for i in range(4)] == [
        "a/0.png",
        "a/1.png",
        "b/c/0.png",
        "b/c/1.png",
    ]
    with pytest.raises(UserError, match="nowhere/ does not exist"):
        UnlabelledImages(data_root=str(tmp_path / "nowhere"))
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        UnlabelledImages(data_root=str(tmp_path / "none"))
