"""Every way to a folder leads to the same data; a file is there once, on one side of the split; losses are counted."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.formats import read
from swinv2_dense.own_data.layout import write_dataset
from swinv2_dense.own_data.places import settle
from swinv2_dense.own_data.samples import Found, Sample
from tests.own_data.makers import class_folders, image, maps, voc, voc_object, yolo

DOG = voc_object("dog", (2, 2, 9, 9))


def made(kind: str, root: Path) -> tuple[Path, str]:
    """A folder of six images, and the scope of what trains on it."""
    if kind == "voc":
        return voc(root, dict.fromkeys("abcdef", DOG)), "mmdet"
    if kind == "yolo":
        return yolo(root, dict.fromkeys("abcdef", "0 0.5 0.5 0.5 0.5")).parent, "mmdet"
    if kind == "maps":
        return maps(root, {name: [0, 1] for name in "abcdef"}), "mmseg"
    return class_folders(root, {"ant": 3, "bee": 3}), "mmpretrain"


@pytest.mark.parametrize("kind", ["voc", "yolo", "maps", "classes"])
@pytest.mark.parametrize("way", ["above", "link to the folder", "link to the images", "links to files"])
def test_relative_paths_and_links(tmp_path: Path, kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, scope = made(kind, tmp_path / "data")
    inner = {"voc": "JPEGImages", "yolo": "images", "maps": "images", "classes": "ant"}[kind]
    if way == "above":
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        data = Path("..", "data").absolute()
    elif way == "link to the folder":
        (tmp_path / "link").symlink_to(data)
        data = tmp_path / "link"
    elif way == "link to the images":
        shutil.move(data / inner, tmp_path / "store")
        (data / inner).symlink_to(tmp_path / "store")
    else:
        for path in [p for p in (data / inner).rglob("*") if p.is_file()]:
            (tmp_path / "files").mkdir(exist_ok=True)
            shutil.move(path, tmp_path / "files" / path.name)
            path.symlink_to(tmp_path / "files" / path.name)
    found = read(data, scope, tmp_path / "out")
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 5, "val": 1}
    for split, samples in found.splits.items():
        write_dataset(found, scope, split, tmp_path / "out")
        assert all((found.root / sample.path.relative_to(found.root)).is_file() for sample in samples)
        assert all(sample.classes for sample in samples)


def test_a_file_listed_twice_is_taken_once(tmp_path: Path) -> None:
    path = yolo(tmp_path, dict.fromkeys("abcde", "0 0.5 0.5 0.5 0.5"))
    (tmp_path / "list.txt").write_text("".join(f"images/../images/train/{name}.jpg\n" for name in "abcde"))
    path.write_text("train: [images/train, list.txt]\nnames: [cat]\n")
    found = read(tmp_path, "mmdet", tmp_path / "out")
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 4, "val": 1}
    assert "5 files are listed more than once, and are taken once" in found.notes


def test_a_file_annotated_in_two_ways_is_named(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "data", {"ant": 3, "bee": 3})
    (data / "bee/same.jpg").symlink_to(data / "ant/1.jpg")
    with pytest.raises(UserError, match=r"bee/same\.jpg is in the data twice, as ant and as bee"):
        read(data, "mmpretrain", tmp_path / "out")


def test_the_annotated_one_of_two_is_taken() -> None:
    samples = [Sample(Path("/d/a.jpg")), Sample(Path("/d/x/../a.jpg"), ["cat"], [{"category": "cat"}])]
    found = Found("", Path("/d"), ["cat"], {"train": samples})
    settle(found)
    assert [sample.classes for sample in found.splits["train"]] == [["cat"]]


@pytest.mark.parametrize("kind", ["yolo", "voc", "maps", "classes"])
def test_no_file_is_trained_and_validated_on(tmp_path: Path, kind: str) -> None:
    data, scope = made(kind, tmp_path / "data")
    if kind == "yolo":
        (data / "data.yaml").write_text("train: images\nval: images/train\nnames: [cat]\n")
    elif kind == "classes":
        shutil.move(data, tmp_path / "train")
        shutil.move(tmp_path / "train", data / "train")
        (data / "val").symlink_to(data / "train")
    else:
        lists = data / "ImageSets" / ("Main" if kind == "voc" else "Segmentation")
        lists.mkdir(parents=True)
        (lists / "train.txt").write_text("a\nb\n")
        (lists / "val.txt").write_text("b\nc\n")
    with pytest.raises(UserError, match=r"files are both trained on and validated on, the first is .*jpg"):
        read(data, scope, tmp_path / "out")


def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "data", {"ant": 3, "bee": 3})
    (data / "ant/loop").symlink_to(data / "ant")
    (data / "bee/other").symlink_to(tmp_path / "beside")
    class_folders(tmp_path / "beside", {"more": 2})
    (tmp_path / "beside/more/back").symlink_to(data / "bee")
    found = read(data, "mmpretrain", tmp_path / "out")
    assert sum(len(samples) for samples in found.splits.values()) == 8


@pytest.mark.parametrize("kind", ["voc", "yolo", "maps", "classes"])
def test_what_is_left_out_is_counted(tmp_path: Path, kind: str) -> None:
    data, scope = made(kind, tmp_path / "data")
    assert not [note for note in read(data, scope, data / "work/own_data").notes if "left out: " in note]
    inner = next(path for path in sorted(data.rglob("*.jpg")) if path.stem in "a1")
    for name in ("a.GIF", "b.heic", "c.heic", "notes.md"):
        shutil.copy(inner, inner.parent / f"z_{name}")
    (note,) = [note for note in read(data, scope, data / "work/own_data").notes if "left out: " in note]
    assert note.startswith("left out: 3 files (.heic 2, .gif 1), the first is ")


@pytest.mark.parametrize("kind", ["voc", "yolo", "maps", "classes"])
@pytest.mark.parametrize("suffix", [".jfif", ".JPE", ".jfi"])
def test_jpegs_by_their_other_endings_are_read(tmp_path: Path, kind: str, suffix: str) -> None:
    data, scope = made(kind, tmp_path / "data")
    before = read(data, scope, data / "work/own_data")
    for path in list(data.rglob("*.jpg")):
        path.rename(path.with_suffix(suffix))
    after = read(data, scope, data / "work/own_data")
    for split, samples in before.splits.items():
        assert [s.path.with_suffix("") for s in after.splits[split]] == [s.path.with_suffix("") for s in samples]
        assert [s.objects for s in after.splits[split]] == [s.objects for s in samples]
    assert after.notes == before.notes


@pytest.mark.parametrize("folder", ["SegmentationClass", "stuffthingmaps/train2017", "panoptic_val2017", "more"])
def test_maps_of_other_tasks_are_not_left_out(tmp_path: Path, folder: str) -> None:
    data, scope = made("voc", tmp_path / "data")
    (data / folder).mkdir(parents=True)
    shutil.copy(next(data.rglob("*.jpg")), data / folder / "1.png")
    notes = [note for note in read(data, scope, data / "work/own_data").notes if "left out: " in note]
    assert len(notes) == (folder == "more")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize("folder", [False, True])
def test_a_name_that_is_no_utf8_is_named(tmp_path: Path, folder: bool) -> None:
    data = class_folders(tmp_path / "data", {"ant": 3, "bee": 3})
    image(data / "ant/x.jpg")
    before, after = (b"/ant", b"/caf\xe9") if folder else (b"/ant/x.jpg", b"/ant/caf\xe9.jpg")
    try:
        os.rename(os.fsencode(data) + before, os.fsencode(data) + after)
    except OSError:
        pytest.skip("the file system takes no such names")
    with pytest.raises(UserError, match=r"caf.* is no UTF-8"):
        read(data, "mmpretrain", tmp_path / "out")
