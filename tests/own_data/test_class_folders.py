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


@pytest.mark.parametrize(
    ("train", "val"),
    [("Training", "Testing"), ("Train", "Val"), ("TRAIN", "Valid"), ("train", "dev"), ("training", "Eval")],
)
def test_splits_by_any_usual_name(tmp_path: Path, train: str, val: str) -> None:
    for split in (train, val):
        class_folders(tmp_path / split, {"ant": 2, "bee": 1})
    found = read_class_folders(tmp_path)
    assert found.classes == ["ant", "bee"]
    assert {k: {s.path.parent.parent.name for s in v} for k, v in found.splits.items()} == {
        "train": {train},
        "val": {val},
    }


@pytest.mark.parametrize(
    "names", [("bus", "car", "train"), ("dev", "test"), ("Train", "plane"), ("train_a", "train_b")]
)
def test_a_folder_of_files_is_a_class_whatever_its_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert read_class_folders(class_folders(tmp_path, dict.fromkeys(names, 2))).classes == sorted(names)


def test_folders_in_a_class_stay_in_it(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat/2020": 1, "cat/2021": 1, "dog/2020": 2, "cow": 1})
    assert [s.classes[0] for s in read_class_folders(tmp_path).splits["train"]] == ["cat", "cat", "cow", "dog", "dog"]


@pytest.mark.parametrize(
    "names", [("set1", "set2"), ("fold_a", "fold_b", "fold_c"), ("train", "more"), ("mytest", "x")]
)
def test_folders_that_hold_the_same_folders_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        class_folders(tmp_path / name, {"ant": 1, "bee": 1})
    with pytest.raises(UserError, match=f"{names[0]}.*{names[-1]}|{names[-1]}.*{names[0]}"):
        read_class_folders(tmp_path)


def test_a_validation_set_alone(tmp_path: Path) -> None:
    for name in ("dev", "test"):
        class_folders(tmp_path / name, {"ant": 1, "bee": 1})
    with pytest.raises(UserError, match="holds dev and no train"):
        read_class_folders(tmp_path)


def test_images_to_test_without_classes_are_no_validation_set(tmp_path: Path) -> None:
    class_folders(tmp_path, {"train/ant": 2, "train/bee": 2, "test": 3})
    assert set(read_class_folders(tmp_path).splits) == {"train"}


def test_a_stray_file_makes_no_class_of_a_split(tmp_path: Path) -> None:
    for split in ("Train", "val"):
        class_folders(tmp_path / split, {"ant": 2, "bee": 1, "": 1})
    found = read_class_folders(tmp_path)
    assert (found.classes, {k: len(v) for k, v in found.splits.items()}) == (["ant", "bee"], {"train": 3, "val": 3})


def test_splits_in_a_folder_of_the_same_name(tmp_path: Path) -> None:
    for split in ("seg_train", "seg_test"):
        class_folders(tmp_path / split / split, {"ant": 1, "bee": 1})
    with pytest.raises(UserError, match="seg_test, seg_train, which look like splits"):
        read_class_folders(tmp_path)
    class_folders(tmp_path / "classes", {"ant/images": 1, "bee/images": 1})
    assert read_class_folders(tmp_path / "classes").classes == ["ant", "bee"]
