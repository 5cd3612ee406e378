"""Class folders with and without splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.class_folders import read_class_folders
from tests.own_data.makers import class_folders


def test_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    found = read_class_folders(class_folders(tmp_path, {"zebra": 1, "ant": 2}))
    assert found.classes == ["ant", "zebra"]
    assert [sample.classes for sample in found.splits["train"]] == [["ant"], ["ant"], ["zebra"]]
    assert "val" not in found.splits


def test_splits_and_clips(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("wave", "jump"):
            place = tmp_path / split / name
            place.mkdir(parents=True)
            (place / "a.mp4").touch()
    found = read_class_folders(tmp_path, clips=True)
    assert {k: len(v) for k, v in found.splits.items()} == {"train": 2, "val": 2}
    (tmp_path / "val/swim").mkdir()
    with pytest.raises(UserError, match="swim is a class that is not trained on"):
        read_class_folders(tmp_path, clips=True)
    (tmp_path / "val/swim").rmdir()
    with pytest.raises(UserError, match="holds no images"):
        read_class_folders(tmp_path)


def test_folders_of_splits_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="look like splits"):
        read_class_folders(class_folders(tmp_path, {"my_train/ant": 1, "my_train/bee": 1, "my_val/ant": 1}))
    for split in ("videos_train", "videos_val"):
        class_folders(tmp_path / "kinetics" / split, {"ant": 1, "bee": 1})
    assert read_class_folders(tmp_path / "kinetics").classes == ["ant", "bee"]


def test_one_class_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 class folders"):
        read_class_folders(class_folders(tmp_path, {"ant": 3}))
