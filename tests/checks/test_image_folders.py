"""Labels by the names of class folders: wnids, numbers, own names, 22K; what does not fit is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinv2_dense.checkpoint.imagenet_rows import rows_of_22k
from swinv2_dense.checks.image_folders import class_folders, images_below, labels_of, wnids
from swinv2_dense.errors import UserError

IMAGENETTE = {
    "n01440764": 0,
    "n02102040": 217,
    "n02979186": 482,
    "n03000684": 491,
    "n03028079": 497,
    "n03394916": 566,
    "n03417042": 569,
    "n03425413": 571,
    "n03445777": 574,
    "n03888257": 701,
}


def test_there_are_1000_sorted_wnids() -> None:
    assert len(wnids()) == 1000
    assert list(wnids()) == sorted(set(wnids()))


@pytest.mark.parametrize("names", [list(IMAGENETTE), ["n03888257"], list(wnids())])
def test_some_of_imagenets_classes_have_their_place_among_the_1000(names: list[str]) -> None:
    found = labels_of(names[::-1], 1000, "val")
    assert found.labels == {name: wnids().index(name) for name in names}
    assert found.names_are_labels
    if len(names) == 10:
        assert found.labels == IMAGENETTE


def test_a_head_of_as_many_classes_counts_the_folders() -> None:
    assert labels_of(list(IMAGENETTE), 10, "val").labels == {name: i for i, name in enumerate(IMAGENETTE)}
    assert labels_of(list(IMAGENETTE), None, "val").labels == {name: i for i, name in enumerate(IMAGENETTE)}


def test_a_stranger_among_the_wnids_is_named() -> None:
    with pytest.raises(UserError, match=r"val holds n00000001, which is none of ImageNet-1K's 1,000 wnids"):
        labels_of(["n01440764", "n00000001"], 1000, "val")


def test_imagenet_v2s_folders_are_numbers() -> None:
    names = [str(i) for i in range(1000)]
    found = labels_of(sorted(names), 1000, "v2")
    assert found.labels == {str(i): i for i in range(1000)}
    assert found.labels["10"] == 10  # as text it is the third


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([str(i) for i in range(1000) if i != 17], "holds 999 folders that are numbers, of which 17 is missing"),
        ([str(i) for i in range(1, 1001)], "of which 0 is missing"),
        ([str(i) for i in range(1001)], "of which 1000 is one too many"),
        ([*map(str, range(1000)), "007"], "is one too many"),
    ],
)
def test_numbers_that_are_not_all_labels_are_one_line(names: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        labels_of(names, 1000, "v2")


def test_own_classes_are_in_the_order_of_their_names() -> None:
    assert labels_of(["dog", "cat", "Ant"], 3, "own").labels == {"Ant": 0, "cat": 1, "dog": 2}
    with pytest.raises(UserError, match="holds 3 class folders, but num_classes is 1000"):
        labels_of(["dog", "cat", "ant"], 1000, "own")
    with pytest.raises(UserError, match="holds no class folders"):
        labels_of([], 3, "own")


def fall_of_2011() -> list[str]:
    """21,841 sorted names with the 1,000 where the published list has them."""
    names: list[str | None] = [None] * 21841
    for row, wnid in zip(rows_of_22k(), wnids(), strict=True):
        names[row] = wnid
    names[5564] = "n03013580"  # the one that was renamed
    filled, last = [], 0
    for name in names:
        last = int(name[1:]) if name else last + 1
        filled.append(f"n{last:08d}")
    assert filled == sorted(set(filled))
    return filled


def test_22k_needs_the_published_order() -> None:
    names = fall_of_2011()
    labels = labels_of(names, 21841, "22k").labels
    assert [labels[w] for w in ("n01440764", "n15075141")] == [359, 21817]
    with pytest.raises(UserError, match="holds 21840 wnid folders, ImageNet-22K has 21841"):
        labels_of(names[1:], 21841, "22k")
    with pytest.raises(UserError, match="these are not the folders of ILSVRC2011fall_whole"):
        labels_of([*names[1:], "n99999999"], 21841, "22k")


def test_folders_and_images_on_disk(tmp_path: Path) -> None:
    for name in ("cat/a.JPEG", "cat/more/b.png", "cat/.hidden.jpg", "dog/c.webp", "dog/notes.txt", ".git/x.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert class_folders(tmp_path, 2).labels == {"cat": 0, "dog": 1}
    assert list(images_below(tmp_path / "cat")) == ["a.JPEG", "more/b.png"]
    assert list(images_below(tmp_path)) == ["cat/a.JPEG", "cat/more/b.png", "dog/c.webp"]
    with pytest.raises(UserError, match="nowhere does not exist"):
        class_folders(tmp_path / "nowhere", 2)
