"""YOLO's boxes and polygons become COCO's, in pixels; exporters write paths in many ways; mistakes name a file."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from PIL import Image

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.yolo import find_yaml, read_yolo
from tests.own_data.makers import HEIGHT, WIDTH, image, yolo


def test_boxes_are_in_pixels_and_an_image_without_labels_is_empty(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": "1 0.5 0.5 0.5 0.25\n\n0 0.1 0.1 0.2 0.2\n", "b": ""})
    image(tmp_path / "images/train/c.png")  # no label file
    found = read_yolo(path)
    assert found.classes == ["cat", "dog"]
    assert not found.masks
    a, b, c = found.splits["train"]
    assert a.size == (HEIGHT, WIDTH)
    assert [o["category"] for o in a.objects] == ["dog", "cat"]
    assert a.objects[0]["bbox"] == pytest.approx([15, 15, 30, 10])
    assert a.objects[0]["area"] == pytest.approx(300)
    assert not b.objects
    assert not c.objects


def test_polygons_are_masks_with_their_box(tmp_path: Path) -> None:
    found = read_yolo(yolo(tmp_path, {"a": "0 0.1 0.1 0.5 0.1 0.5 0.5\n"}))
    assert found.masks
    (o,) = found.splits["train"][0].objects
    assert o["segmentation"][0] == pytest.approx([6, 4, 30, 4, 30, 20])
    assert o["bbox"] == pytest.approx([6, 4, 24, 16])
    assert o["area"] == pytest.approx(192)


def test_an_image_turned_by_exif_is_as_large_as_it_is_decoded(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": "0 0.5 0.5 1 1\n"})
    place = tmp_path / "images/train/a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(place).save(place, exif=exif)
    (sample,) = read_yolo(path).splits["train"]
    assert sample.size == cv2.imread(str(place)).shape[:2] == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "text",
    [
        "train: ../train/images\nnames: [cat, dog]",  # Roboflow
        "path: .\ntrain: [train/images]\nnames: {0: cat, 1: dog}",
        "train: list.txt\nnc: 2",
        "train: lists/train.txt\nnc: 2",
    ],
)
def test_paths_as_exporters_write_them(tmp_path: Path, text: str) -> None:
    image(tmp_path / "train/images/a.jpg")
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a.txt").write_text("1 0.5 0.5 0.5 0.5")
    (tmp_path / "lists").mkdir()
    for name in ("list.txt", "lists/train.txt"):
        (tmp_path / name).write_text("./train/images/a.jpg\n")
    (tmp_path / "data.yaml").write_text(text)
    path = find_yaml(tmp_path)
    assert path is not None
    (sample,) = read_yolo(path).splits["train"]
    assert len(sample.objects) == 1


@pytest.mark.parametrize("key", ["val", "valid", "Validation", "test"])
def test_a_validation_set_is_kept(tmp_path: Path, key: str) -> None:
    yolo(tmp_path, {"b": "0 0.5 0.5 0.5 0.5"}, folder="val")
    path = yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5"})
    path.write_text(path.read_text() + f"{key}: images/val\n")
    assert [s.path.stem for s in read_yolo(path).splits["val"]] == ["b"]


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("images/train/a.jpg", "labels/train/a.TXT"),
        ("Images/train/a.jpg", "Labels/train/a.txt"),
        ("Images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.b.jpg", "train/labels/a.b.txt"),
        ("images/train/a.jpg", "images/train/a.txt"),
        ("train/a.jpg", "train/a.txt"),
    ],
)
@pytest.mark.parametrize("above", ["data", "images/of/mine"])
def test_labels_are_found(tmp_path: Path, images: str, labels: str, above: str) -> None:
    root = tmp_path / above
    image(root / images)
    (root / labels).parent.mkdir(parents=True, exist_ok=True)
    (root / labels).write_text("0 0.5 0.5 0.5 0.5")
    (root / "data.yaml").write_text(f"train: {Path(images).parent}\nnames: [cat]\n")
    found = read_yolo(root / "data.yaml")
    assert found.splits["train"][0].classes == ["cat"]
    assert not found.notes


def test_a_folder_of_images_elsewhere_has_labels_by_its_link_or_there(tmp_path: Path) -> None:
    path = yolo(tmp_path / "data", {"a": "0 0.5 0.5 0.5 0.5"})
    (tmp_path / "data/images").rename(tmp_path / "store")
    (tmp_path / "data/images").symlink_to(tmp_path / "store")
    assert read_yolo(path).splits["train"][0].classes == ["cat"]
    (tmp_path / "data/labels/train/a.txt").rename(tmp_path / "store/train/a.txt")
    assert read_yolo(path).splits["train"][0].classes == ["cat"]


def test_what_has_no_partner_is_counted(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5", "b": "0 0.5 0.5 0.5 0.5", "c": ""})
    (tmp_path / "images/train/b.jpg").rename(tmp_path / "images/train/b.heic")
    (tmp_path / "labels/train/c.txt").rename(tmp_path / "labels/train/classes.txt")
    (tmp_path / "labels/train/classes.txt").write_text("cat\ndog\n")
    found = read_yolo(path)
    assert [sample.path.name for sample in found.splits["train"]] == ["a.jpg", "c.jpg"]
    missing, left_over = found.notes
    assert "without a label file, taken as empty: 1 of 2" in missing
    assert "c.jpg" in missing
    assert "label files without an image of a format that is read: 1," in left_over
    assert "b.txt" in left_over


def test_a_split_without_any_label_file_is_refused(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5"})
    yolo(tmp_path, {"b": "0 0.5 0.5 0.5 0.5"}, folder="val")
    path.write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    assert len(read_yolo(path).splits["val"]) == 1
    (tmp_path / "labels/val").rename(tmp_path / "labels/validation")
    with pytest.raises(UserError, match=r"val: none of the 1 images has a label file; b\.txt is in none of"):
        read_yolo(path)


@pytest.mark.parametrize(("shape", "points"), [("[2, 2]", "0.4 0.4 0.9 0.9"), ("[2, 3]", "0.4 0.4 2 0 0 0")])
def test_of_key_points_the_box_is_read(tmp_path: Path, shape: str, points: str) -> None:
    names = f"names: [cat, dog]\nkpt_shape: {shape}"
    found = read_yolo(yolo(tmp_path, {"a": f"1 0.5 0.5 0.5 0.25 {points}\n0 0.5 0.5 1 1\n"}, names))
    first, second = found.splits["train"][0].objects
    assert first["bbox"] == pytest.approx([15, 15, 30, 10])
    assert second["bbox"] == pytest.approx([0, 0, WIDTH, HEIGHT])
    assert not found.masks
    assert "key points" in found.notes[0]
    with pytest.raises(UserError, match="6 numbers are no box"):
        read_yolo(yolo(tmp_path, {"a": "1 0.1 0.1 0.5 0.1 0.5 0.5\n"}, names))


@pytest.mark.parametrize(
    ("names", "read"),
    [
        ("[yes, no]", ["yes", "no"]),
        ("{0: on, 1: 07}", ["on", "07"]),
        ("{'1': ' dog ', '0': 1.0}", ["1.0", "dog"]),
        ("['null', 2020-01-01]", ["null", "2020-01-01"]),
    ],
)
def test_names_are_as_they_are_written(tmp_path: Path, names: str, read: list[str]) -> None:
    assert read_yolo(yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5"}, f"names: {names}")).classes == read


@pytest.mark.parametrize(
    ("label", "line"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2 is none of the 2"),
        ("0 30 20 10 10", "relative to the image"),
        ("0 0.5 0.5 0.1", "3 coordinates"),
        ("cat 0.5 0.5 0.1 0.1", "no class index"),
    ],
)
def test_a_wrong_label_names_file_and_line(tmp_path: Path, label: str, line: str) -> None:
    with pytest.raises(UserError, match=line) as raised:
        read_yolo(yolo(tmp_path, {"a": f"0 0.5 0.5 0.5 0.5\n{label}\n"}))
    assert "a.txt, line 2" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train: images/train\nnames: []", "names no classes"),
        ("train: images/train\nnames: cat", "names no classes"),
        ("train: images/train\nnames: {a: cat}", "names has 'a' for an index"),
        ("train: images/train\nnames: {0: cat, 1: dog, 0: cow}", "names class 0 twice, 'cat' and 'cow'"),
        ("train: images/train\nnames: [cat, null]", "no name for class 1"),
        ("train: images/train\nnames: {0: cat, 5: }", "no name for class 5"),
        ("train: images/train\nnames: [[cat], [dog]]", "no name for class 0"),
        ("train: images/train\nnames: [cat, 'cat ']", r"data\.yaml names two classes 'cat'"),
        ("train: images/train\nnames: [cat]\nkpt_shape: 17", "kpt_shape is 17"),
        ("train: images/train\nval: empty\nnames: [cat]", "no images in val: empty"),
        ("train: list.txt\nnames: [cat]", r"list\.txt: gone\.jpg is no image"),
        ("train: nowhere\nnames: [cat]", "nowhere does not exist"),
        ("names: [cat]", "names no images"),
        ("train: [", "no valid YAML"),
    ],
)
def test_a_wrong_yaml_is_named(tmp_path: Path, text: str, line: str) -> None:
    path = yolo(tmp_path, {"a": ""})
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("images/train/a.jpg\ngone.jpg\n")
    path.write_text(text)
    with pytest.raises(UserError, match=line):
        read_yolo(path)
