"""Pascal VOC's boxes, counted from 1 with both ends, become COCO's; its lists split; every mistake names a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.formats import read
from swinv2_dense.own_data.voc import read_voc
from tests.own_data.makers import image, voc, voc_object


def test_boxes_and_difficult_objects(tmp_path: Path) -> None:
    objects = voc_object("dog", (1, 1, 60, 40)) + voc_object("cat", (11, 6, 20, 15), difficult=1)
    found = read_voc(voc(tmp_path, {"a": objects}))
    assert found.classes == ["cat", "dog"]
    dog, cat = found.splits["train"][0].objects
    assert (dog["bbox"], dog["iscrowd"]) == ([0, 0, 60, 40], 0)  # the whole image
    assert (cat["bbox"], cat["iscrowd"]) == ([10, 5, 10, 10], 1)


def test_lists_split(tmp_path: Path) -> None:
    voc(tmp_path, {name: voc_object("dog", (2, 2, 9, 9)) for name in "abc"})
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n")
    (lists / "val.txt").write_text("b\n")
    splits = read_voc(tmp_path).splits
    assert {k: [s.path.stem for s in v] for k, v in splits.items()} == {"train": ["a", "c"], "val": ["b"]}
    (lists / "val.txt").write_text("z\n")
    with pytest.raises(UserError, match="z of the val list"):
        read_voc(tmp_path)


def test_xml_beside_images_in_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        voc(tmp_path / split, {split: voc_object("dog", (2, 2, 9, 9))}, places=("", ""))
    splits = read_voc(tmp_path).splits
    assert {k: [s.path.stem for s in v] for k, v in splits.items()} == {"train": ["train"], "val": ["valid"]}


@pytest.mark.parametrize(
    ("objects", "line"),
    [
        (voc_object("", (1, 1, 9, 9)), "without a name"),
        (voc_object("dog", (9, 9, 5, 5)), "no extent"),
        ("<object><name>dog</name></object>", "no bndbox"),
        (voc_object("dog", (0.1, 0.2, 0.5, 1)), "is relative to the image"),  # type: ignore[arg-type]
        ("<object>", "no valid XML"),
    ],
)
def test_a_wrong_object_names_its_file(tmp_path: Path, objects: str, line: str) -> None:
    with pytest.raises(UserError, match=line) as raised:
        read_voc(voc(tmp_path, {"a": objects}))
    assert "a.xml" in str(raised.value)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    voc(tmp_path, {"a": ""})
    (tmp_path / "JPEGImages/a.jpg").unlink()
    with pytest.raises(UserError, match=r"no image a\.jpg"):
        read_voc(tmp_path)


def sized(width: int, height: int, box: tuple[int, int, int, int] = (2, 2, 9, 9)) -> str:
    return f"<size><width>{width}</width><height>{height}</height></size>{voc_object('dog', box)}"


def names(root: Path) -> dict[str, list[str]]:
    return {split: [s.path.stem for s in samples] for split, samples in read_voc(root).splits.items()}


@pytest.mark.parametrize("stale", ["a.jpg", "elsewhere.jpg", "", r"C:\photos\a.jpg"])
def test_an_image_of_the_xml_own_name_is_preferred(tmp_path: Path, stale: str) -> None:
    voc(tmp_path, {name: voc_object("dog", (2, 2, 9, 9)) for name in "abc"})
    for path in (tmp_path / "Annotations").iterdir():
        path.write_text(path.read_text().replace(f"{path.stem}.jpg", stale))
    assert names(tmp_path) == {"train": ["a", "b", "c"]}


def test_filename_chooses_among_images_of_one_name_and_is_taken_where_there_is_none(tmp_path: Path) -> None:
    voc(tmp_path, {"a": "", "b": ""})
    image(tmp_path / "JPEGImages/a.bmp")
    (tmp_path / "JPEGImages/b.jpg").rename(tmp_path / "JPEGImages/other.jpg")
    (tmp_path / "Annotations/b.xml").write_text(r"<annotation><filename>x\other.jpg</filename></annotation>")
    assert [s.path.name for s in read_voc(tmp_path).splits["train"]] == ["a.jpg", "other.jpg"]


def test_two_xml_of_one_image_are_named(tmp_path: Path) -> None:
    voc(tmp_path, {"a": "", "b": ""})
    (tmp_path / "JPEGImages/b.jpg").unlink()
    (tmp_path / "Annotations/b.xml").write_text("<annotation><filename>a.jpg</filename></annotation>")
    with pytest.raises(UserError, match=r"a\.xml and .*b\.xml both annotate .*a\.jpg"):
        read_voc(tmp_path)


@pytest.mark.parametrize("size", [(60, 40), (0, 0), (0, 40)])
def test_a_size_that_fits_or_is_not_given(tmp_path: Path, size: tuple[int, int]) -> None:
    assert len(read_voc(voc(tmp_path, {"a": sized(*size)})).splits["train"][0].objects) == 1


@pytest.mark.parametrize("size", [(600, 400), (40, 60), (61, 40)])
def test_boxes_of_an_image_of_another_size(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(
        UserError, match=rf"a\.xml: its <size> is {size[0]} x {size[1]}, but a\.jpg has 60 x 40 pixels:"
    ):
        read_voc(voc(tmp_path, {"a": sized(*size)}))


def test_boxes_drawn_on_an_image_before_exif_turned_it(tmp_path: Path) -> None:
    place = voc(tmp_path, {"a": sized(60, 40)}) / "JPEGImages/a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(place).save(place, exif=exif)
    with pytest.raises(UserError, match="EXIF orientation"):
        read_voc(tmp_path)
    voc(tmp_path / "shown", {"a": sized(40, 60, (30, 50, 40, 60))})
    Image.open(place).save(tmp_path / "shown/JPEGImages/a.jpg", exif=exif)
    assert read_voc(tmp_path / "shown").splits["train"][0].objects[0]["bbox"] == [29, 49, 11, 11]


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        ({"trainval": "abcd", "test": "ef"}, {"train": "abcd", "val": "ef"}),
        ({"train": "ab", "val": "c", "trainval": "abc", "test": "d"}, {"train": "ab", "val": "c"}),
        ({"train": "abcd"}, {"train": "abcd"}),
        ({"Train": "ab", "Val": "c"}, {"train": "ab", "val": "c"}),
        ({}, {"train": "abcdef"}),
    ],
)
def test_lists_of_every_kind(tmp_path: Path, lists: dict[str, str], splits: dict[str, str]) -> None:
    voc(tmp_path, {name: voc_object("dog", (2, 2, 9, 9)) for name in "abcdef"})
    for name, listed in lists.items():
        path = tmp_path / f"ImageSets/Main/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{stem} 1\n" for stem in listed))
    assert names(tmp_path) == {split: list(listed) for split, listed in splits.items()}


def test_lists_without_one_to_train_on(tmp_path: Path) -> None:
    lists = voc(tmp_path, {"my image": "", "b": ""}) / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("b.jpg\n")
    with pytest.raises(UserError, match=r"no train\.txt beside it"):
        read_voc(tmp_path)
    (lists / "train.txt").write_text("my image\n")
    assert names(tmp_path) == {"train": ["my image"], "val": ["b"]}


def test_capital_suffixes_and_folders_in_annotations(tmp_path: Path) -> None:
    voc(tmp_path, dict.fromkeys("abc", ""))
    annotations = tmp_path / "Annotations"
    (annotations / "a.xml").rename(annotations / "a.XML")
    (annotations / "more").mkdir()
    (annotations / "b.xml").rename(annotations / "more/b.xml")
    assert sorted(names(tmp_path)["train"]) == ["a", "b", "c"]
    for split in ("Train", "val"):
        voc(tmp_path / "split", {"same": ""}, places=(f"Annotations/{split}", f"JPEGImages/{split}"))
    splits = read_voc(tmp_path / "split").splits
    assert {k: [s.path.parent.name for s in v] for k, v in splits.items()} == {"train": ["Train"], "val": ["val"]}


def test_splits_beside_a_stray_file(tmp_path: Path) -> None:
    for split in ("Train", "Test"):
        voc(tmp_path / split, {split: ""}, places=("", ""))
    voc(tmp_path, {"stray": ""}, places=("", ""))
    found = read_voc(tmp_path)
    assert {k: [s.path.stem for s in v] for k, v in found.splits.items()} == {"train": ["Train"], "val": ["Test"]}
    assert "left out: 1 XML files" in found.notes[0]


def test_the_folder_around_one_of_voc(tmp_path: Path) -> None:
    voc(tmp_path / "VOCdevkit/VOC2007", dict.fromkeys("abc", voc_object("dog", (2, 2, 9, 9))))
    found = read(tmp_path / "VOCdevkit", "mmdet", tmp_path / "out")
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 2, "val": 1}
    voc(tmp_path / "VOCdevkit/VOC2012", {"d": voc_object("dog", (2, 2, 9, 9))})
    with pytest.raises(UserError, match="in VOC2007, VOC2012, none called train"):
        read(tmp_path / "VOCdevkit", "mmdet", tmp_path / "out")


@pytest.mark.parametrize("number", ["nan", "inf", "", "one"])
def test_coordinates_that_are_no_numbers(tmp_path: Path, number: str) -> None:
    with pytest.raises(UserError, match=r"a\.xml: object 'dog' has no bndbox of four numbers"):
        read_voc(voc(tmp_path, {"a": voc_object("dog", (2, 2, 9, 9)).replace(">9<", f">{number}<")}))


@pytest.mark.parametrize(("word", "ignored"), [("True", 1), ("1", 1), ("0", 0), ("false", 0), ("", 0)])
def test_difficult_in_words(tmp_path: Path, word: str, ignored: int) -> None:
    objects = voc_object("dog", (2, 2, 9, 9)).replace("difficult>0", f"difficult>{word}")
    assert read_voc(voc(tmp_path, {"a": objects})).splits["train"][0].objects[0]["iscrowd"] == ignored
