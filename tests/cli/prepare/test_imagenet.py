"""`prepare imagenet` and `prepare images` say what the configs will see, and name what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinv2_dense.checks.image_folders import wnids
from swinv2_dense.cli.prepare import imagenet, images
from swinv2_dense.errors import UserError


def write(root: Path, names: list[str], grey: int = 0) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(root / name / "a.png")
    return root


def test_says_which_labels_the_folders_get(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "train", ["n03888257", "n01440764"])
    write(tmp_path / "val", ["n01440764"], grey=1)
    imagenet.main([str(tmp_path), "--workers", "0"])
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("train: 2 images in 2 folders; 2 of ImageNet-1K's 1,000 classes, labelled by wnid")
    assert out[1] == "  n01440764 = 0, n03888257 = 701"
    assert out[2].endswith("val: 1 images in 1 folders; 1 of ImageNet-1K's 1,000 classes, labelled by wnid")


def test_a_variant_of_imagenet_v2_with_999_folders_is_one_line(tmp_path: Path) -> None:
    for i in range(1000):
        (tmp_path / str(i)).mkdir()
    with pytest.raises(UserError, match=r"0 holds no images \(1000 such folders\)"):
        imagenet.main([str(tmp_path), "--no-decoding"])
    (tmp_path / "7").rmdir()
    with pytest.raises(UserError, match="999 folders that are numbers, of which 7 is missing"):
        imagenet.main([str(tmp_path), "--no-decoding"])


def test_train_and_val_of_own_data_must_agree(tmp_path: Path) -> None:
    write(tmp_path / "train", ["ant", "bee"])
    write(tmp_path / "val", ["ant", "wasp"])
    with pytest.raises(UserError, match="bee is in only one of train and val"):
        imagenet.main([str(tmp_path), "--workers", "0"])


def test_broken_images_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "train", ["ant", "bee"])
    (tmp_path / "train" / "ant" / "b.jpg").write_text("no image")
    with pytest.raises(UserError, match="train: 1 of 3 images are broken"):
        imagenet.main([str(tmp_path), "--workers", "0"])
    assert "ant/b.jpg cannot be decoded" in capsys.readouterr().out
    with pytest.raises(UserError, match="1 of 3 images are broken"):
        images.main([str(tmp_path), "--workers", "0"])
    (tmp_path / "train" / "ant" / "b.jpg").unlink()
    images.main([str(tmp_path), "--workers", "0"])
    assert "2 images, all decoded" in capsys.readouterr().out


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere does not exist"):
        imagenet.main([str(tmp_path / "nowhere")])
    with pytest.raises(UserError, match="holds no images"):
        images.main([str(tmp_path)])


def test_what_training_would_not_see_is_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "train", ["ant", "bee"])
    (tmp_path / "train" / "ant" / "loop").symlink_to(tmp_path / "train")
    (tmp_path / "train" / "ant" / "b.heic").write_bytes(b"x")
    imagenet.main([str(tmp_path), "--no-decoding"])
    told = capsys.readouterr()
    assert told.out.startswith(f"1 files in {tmp_path}/train are no images by their suffix, the first ant/b.heic\n")
    assert "train: 2 images in 2 folders" in told.out
    assert told.err == f"warning: {tmp_path} holds no val beside train\n"
    (tmp_path / "train" / "a.png").write_bytes(b"x")  # as of ImageNet's val that was not wholly sorted into folders
    with pytest.raises(UserError, match=r"1 images lie in \S+train itself, the first a\.png, and would be left out"):
        imagenet.main([str(tmp_path), "--no-decoding"])


def test_folders_of_splits_are_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "Train", ["ant", "bee"])
    with pytest.raises(UserError, match="holds neither train nor val: name the folders"):
        imagenet.main([str(tmp_path), "--no-decoding"])
    imagenet.main([str(tmp_path / "Train"), "--no-decoding", "--splits", "."])
    assert "ant = 0, bee = 1" in capsys.readouterr().out


def test_a_folder_beyond_the_1000_is_named(tmp_path: Path) -> None:
    for name in [*wnids(), "n99999999"]:
        (tmp_path / "train" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"1,000 folders of ImageNet-1K and 1 more, the first n99999999"):
        imagenet.main([str(tmp_path), "--no-decoding"])


def test_splits_that_share_images_or_lack_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "train", ["n01440764", "n03888257"])
    write(tmp_path / "val", ["n01440764"])
    with pytest.raises(UserError, match=r"1 files are in \S+train and in \S+val, the first n01440764/a\.png"):
        imagenet.main([str(tmp_path), "--workers", "0"])
    assert "label 701 is in only one of train and val (1 such labels)" in capsys.readouterr().err
    with pytest.raises(UserError, match="--workers -1: give a number from 0 on"):
        imagenet.main([str(tmp_path), "--workers", "-1"])
