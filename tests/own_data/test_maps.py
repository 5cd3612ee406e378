"""Index maps with and without 'other', any ignored value, palettes and colours: each value ends as the right class."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.maps import read_maps, write_maps
from tests.own_data.makers import HEIGHT, image, maps


def stored(root: Path, folder: Path, **options: object) -> tuple[list[str], list[list[int]]]:
    """The classes of a data set, and the rows of every map as written for training."""
    found, values = read_maps(root, **options)  # type: ignore[arg-type]
    write_maps(found, values, folder)
    written = [cv2.imread(str(sample.map), cv2.IMREAD_UNCHANGED) for sample in found.splits["train"]]
    assert all(m.dtype == np.uint8 for m in written)
    return found.classes, [list(dict.fromkeys(m[:, 0].tolist())) for m in written]


@pytest.mark.parametrize(
    ("legend", "bands", "ignore", "classes", "rows"),
    [
        ("sky\nsea\n", [0, 1], None, ["sky", "sea"], [1, 2]),
        ("sky\nsea\n", [0, 1, 255], None, ["sky", "sea"], [1, 2, 0]),
        ("sky\nsea\n", [0, 1, 2], None, ["sky", "sea"], [0, 1, 2]),  # 0 is 'other'
        ("sky\nsea\n", [0, 1], [0], ["sky", "sea"], [0, 1]),
        ("sky\nsea\n", [0, 1, 2, 255], [0], ["sky", "sea"], [0, 1, 2]),  # 255 besides
        ("sky\nsea\n", [0, 1, 255], [0], ["sky", "sea"], [0, 1]),
        ("0 background\n255 object\n", [0, 255], None, ["background", "object"], [1, 2]),
        ("sky\nsea\nland\n", [0, 1, 255], [255], ["sky", "sea", "land"], [1, 2, 0]),
        ("sky\nsea\n", [0, 1, 100], [100], ["sky", "sea"], [1, 2, 0]),
        ("7 sky\n3 sea\n", [3, 7, 255], None, ["sea", "sky"], [1, 2, 0]),
        ("0: other\n7: sky\n", [0, 7], [0], ["sky"], [0, 1]),
        ("7 sky\n8 sky\n9 sea", [7, 8, 9], None, ["sky", "sea"], [1, 2]),
        (None, [4, 9, 255], None, ["class 4", "class 9"], [1, 2, 0]),
    ],
)
@pytest.mark.parametrize("palette", [False, True])
def test_meaning_of_values(
    tmp_path: Path,
    legend: str | None,
    bands: list[int],
    ignore: list[int] | None,
    classes: list[str],
    rows: list[int],
    palette: bool,
) -> None:
    root = maps(tmp_path / "data", {"a": bands}, palette=palette)
    if legend is not None:
        (root / "classes.txt").write_text(legend)
    assert stored(root, tmp_path / "maps", ignore=ignore) == (classes, [rows])


def test_colour_maps_need_a_legend(tmp_path: Path) -> None:
    root = maps(tmp_path / "data", {"a": [10, 20]}, colour=True)
    with pytest.raises(UserError, match="R G B NAME"):
        read_maps(root)
    (root / "classes.txt").write_text("10 245 0 sky\n20 235 0 deep sea\n")
    assert stored(root, tmp_path / "maps") == (["sky", "deep sea"], [[1, 2]])
    (root / "classes.txt").write_text("10 245 0 sky\n")
    with pytest.raises(UserError, match="#14eb00"):
        read_maps(root)


def test_grey_maps_saved_as_rgb_are_index_maps(tmp_path: Path) -> None:
    root = maps(tmp_path / "data", {"a": [0, 1]})
    path = root / "masks/a.png"
    Image.open(path).convert("RGB").save(path)
    assert stored(root, tmp_path / "maps")[1] == [[1, 2]]


def test_images_of_several_suffixes_and_names_with_endings(tmp_path: Path) -> None:
    root = maps(tmp_path / "data", {"a": [0, 1]})
    image(root / "images/a.png")  # beside a.jpg
    (root / "masks/a.png").rename(root / "masks/a_mask.png")
    found, values = read_maps(root)
    write_maps(found, values, tmp_path / "maps")
    assert sorted(p.name for p in (tmp_path / "maps/images").iterdir()) == ["a.jpg.png", "a.png.png"]


@pytest.mark.parametrize("outside", [False, True])
def test_splits_inside_or_outside(tmp_path: Path, outside: bool) -> None:
    flat = maps(tmp_path / "flat", {"a": [0, 1]})
    for split in ("train", "val"):
        for kind, suffix in (("images", ".jpg"), ("masks", ".png")):
            place = tmp_path / "data" / (f"{split}/{kind}" if outside else f"{kind}/{split}")
            place.mkdir(parents=True)
            (place / f"{split}{suffix}").write_bytes((flat / kind / f"a{suffix}").read_bytes())
    splits = read_maps(tmp_path / "data")[0].splits
    assert {k: [s.path.stem for s in v] for k, v in splits.items()} == {"train": ["train"], "val": ["val"]}


def test_lists_of_voc_and_images_without_maps(tmp_path: Path) -> None:
    root = maps(tmp_path / "data", {"a": [0, 1], "b": [0, 1]})
    (root / "images").rename(root / "JPEGImages")
    (root / "masks").rename(root / "SegmentationClass")
    image(root / "JPEGImages/c.jpg")
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    assert [s.path.stem for s in read_maps(root)[0].splits["val"]] == ["b"]


def test_mistakes(tmp_path: Path) -> None:
    root = maps(tmp_path / "data", {"a": [0, 1, 5]})
    (root / "classes.txt").write_text("sky\nsea\n")
    with pytest.raises(UserError, match="values up to 5"):
        read_maps(root)
    (root / "classes.txt").write_text("0 sky\n1 sea\n")
    with pytest.raises(UserError, match="the first is 5"):
        read_maps(root)
    (root / "classes.txt").unlink()
    with pytest.raises(UserError, match="every value"):
        read_maps(root, ignore=[0, 1, 5])
    Image.new("L", (10, HEIGHT)).save(root / "masks/a.png")
    with pytest.raises(UserError, match="must be equal"):
        read_maps(root)
    image(root / "images/b.jpg")
    with pytest.raises(UserError, match=r"1 images have no map.*b\.jpg"):
        read_maps(root)
    (root / "masks").rename(root / "other")
    with pytest.raises(UserError, match="no folder of index maps"):
        read_maps(root)


@pytest.mark.parametrize("name", ["annotations", "labels", "gtFine", "stuffthingmaps"])
def test_folders_of_maps_by_their_usual_names(name: str, tmp_path: Path) -> None:
    root = maps(tmp_path / "data", {"a": [0, 1]})
    (root / "masks").rename(root / name)
    assert [s.path.stem for s in read_maps(root)[0].splits["train"]] == ["a"]


@pytest.mark.parametrize(
    ("legend", "bands"),
    [
        ("background\nobject\n", [0, 255]),
        (None, [0, 255]),
        (None, [1, 255]),
        ("0 background\n1 object\n", [0, 255]),
        ("sky\nsea\nland\n", [0, 1, 255]),
    ],
)
def test_255_that_may_be_a_class_is_asked_about(tmp_path: Path, legend: str | None, bands: list[int]) -> None:
    root = maps(tmp_path, {"a": bands, "b": bands})
    if legend is not None:
        (root / "classes.txt").write_text(legend)
    with pytest.raises(UserError, match=r"255; is 255 a class\?.*'255 object'.*--ignore 255"):
        read_maps(root)


def test_which_value_is_which_class_is_said(tmp_path: Path) -> None:
    root = maps(tmp_path, {"a": [0, 1, 2]})
    (root / "classes.txt").write_text("road\ntree\ncar\n")
    assert "values of the maps by the lines of classes.txt: 0 road, 1 tree, 2 car" in read_maps(root)[0].notes
    (root / "classes.txt").write_text("road\ntree\n")
    assert "values of the maps by the lines of classes.txt: 1 road, 2 tree" in read_maps(root)[0].notes


@pytest.mark.parametrize("lists", [("trainval", "test"), ("train", "val"), ("train", None)])
def test_lists_of_every_kind(tmp_path: Path, lists: tuple[str, str | None]) -> None:
    root = maps(tmp_path, {name: [0, 1] for name in ("a b", "c", "d")})
    folder = root / "ImageSets/Segmentation"
    folder.mkdir(parents=True)
    for name, listed in zip(lists, ("a b\n", "c\n"), strict=True):
        if name is not None:
            (folder / f"{name}.txt").write_text(listed)
    splits = {split: [s.path.stem for s in samples] for split, samples in read_maps(root)[0].splits.items()}
    assert splits == {"train": ["a b"]} | ({"val": ["c"]} if lists[1] else {})


def test_a_split_has_maps_of_its_own_name(tmp_path: Path) -> None:
    flat = maps(tmp_path / "flat", {"a": [0, 1]})
    for place in ("images/Train", "masks/train", "images/val", "masks/test"):
        kind, suffix = place.split("/")[0], ".jpg" if place.startswith("images") else ".png"
        (tmp_path / "data" / place).mkdir(parents=True)
        (tmp_path / "data" / place / f"a{suffix}").write_bytes((flat / kind / f"a{suffix}").read_bytes())
    assert set(read_maps(tmp_path / "data")[0].splits) == {"train"}
    (tmp_path / "data/masks/test").rename(tmp_path / "data/masks/validation")
    assert set(read_maps(tmp_path / "data")[0].splits) == {"train", "val"}


def test_images_to_test_without_maps_are_no_validation_set(tmp_path: Path) -> None:
    maps(tmp_path / "train", {"a": [0, 1]})
    image(tmp_path / "test/images/b.jpg")
    assert set(read_maps(tmp_path)[0].splits) == {"train"}


def test_two_maps_of_an_image_are_named(tmp_path: Path) -> None:
    root = maps(tmp_path, {"a": [0, 1]})
    Image.open(root / "masks/a.png").save(root / "masks/a.tif")
    with pytest.raises(UserError, match=r"a\.png and a\.tif may both be the map of a"):
        read_maps(root)


def test_maps_whose_values_would_be_rounded(tmp_path: Path) -> None:
    root = maps(tmp_path, {"a": [0, 1]})
    (root / "masks/a.png").unlink()
    bands = np.tile(np.array([0, 0.5, 1, 1], np.float32).repeat(HEIGHT // 4)[:, None], (1, 60))
    for wrong in (bands, np.where(bands == 0.5, np.nan, bands)):
        Image.fromarray(wrong.astype(np.float32)).save(root / "masks/a.tif")
        with pytest.raises(UserError, match=r"a\.tif has values that are no whole numbers"):
            read_maps(root)
    Image.fromarray(np.round(bands)).save(root / "masks/a.tif")
    assert stored(root, tmp_path / "maps") == (["class 0", "class 1"], [[1, 2]])
    (root / "masks/a.tif").unlink()
    assert cv2.imwrite(str(root / "masks/a.png"), np.full((HEIGHT, 60, 3), 2, np.uint16))
    with pytest.raises(UserError, match=r"a\.png has several channels of 16 bits"):
        read_maps(root)


def test_capitals_in_names_of_folders_do_not_matter(tmp_path: Path) -> None:
    root = maps(tmp_path, {"a": [0, 1]})
    (root / "images").rename(root / "Images")
    (root / "masks").rename(root / "Masks")
    assert [s.path.stem for s in read_maps(root)[0].splits["train"]] == ["a"]
