"""`prepare imagenet` and `prepare images` say what the configs will see, and name what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from swinv2_dense.cli.prepare import imagenet, images
from swinv2_dense.errors import UserError


def write(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / name / "a.png")
    return root


def test_says_which_labels_the_folders_get(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "train", ["n03888257", "n01440764"])
    write(tmp_path / "val", ["n01440764"])
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
