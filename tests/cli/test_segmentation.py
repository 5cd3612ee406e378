"""tools/train.py, tools/test.py and tools/prepare/ade20k.py on segmentation: a tiny UperNet from the command line to
files, and each mistake in the data or the config as one line on stderr with status 1."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from swinv2_dense.cli import common as cli
from swinv2_dense.demo.landscapes_ade20k import write_landscapes_ade20k
from tests.tiny import REPOSITORY, mistake, tool

pytest.importorskip("mmseg", reason="segmentation needs the seg extra")

# The demo's data under the model and the pipelines of ADE20K, smaller still.
CONFIG = f"""
_base_ = {str(REPOSITORY / "configs" / "ade20k" / "upernet_swinv2_t.py")!r}
classes = ("sky", "mountain", "sea", "grass", "road", "tree", "house")
model = dict(
    data_preprocessor=dict(size=(64, 64)),
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)), window_size=4
    ),
    decode_head=dict(in_channels=[8, 16, 32, 64], channels=8, num_classes=7),
    auxiliary_head=dict(in_channels=32, channels=8, num_classes=7),
    test_cfg=dict(crop_size=(64, 64), stride=(32, 32)),
)


def smaller(pipeline):
    changes = dict(
        RandomResize=dict(scale=(256, 64)), Resize=dict(scale=(256, 64)), RandomCrop=dict(crop_size=(64, 64))
    )
    return [dict(step, **changes.get(step["type"], {{}})) for step in pipeline]


tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="Resize", scale=(256, side), keep_ratio=True) for side in (32, 64)],
            _base_.tta_pipeline[1].transforms[1],
            smaller(_base_.tta_pipeline[1].transforms[2]),
            _base_.tta_pipeline[1].transforms[3],
        ],
    ),
]
dataset = dict(metainfo=dict(classes=classes))
train_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(**dataset, pipeline=smaller(_base_.train_pipeline))
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(**dataset, pipeline=smaller(_base_.test_pipeline))
)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""


@pytest.fixture
def ade20k(tmp_path: Path) -> Path:
    root = tmp_path / "ade20k"
    write_landscapes_ade20k(root, train=4, val=2, side=64)
    return root


@pytest.fixture
def config(tmp_path: Path, ade20k: Path, monkeypatch: pytest.MonkeyPatch, clean_run: None) -> Path:
    monkeypatch.setenv("ADE20K_ROOT", str(ade20k))
    path = tmp_path / "tiny.py"
    path.write_text(CONFIG)
    return path


def test_train_then_test_in_every_variant(config: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    tool("train").main([str(config), "--work-dir", str(work)])
    checkpoint = work / "iter_2.pth"
    saved = torch.load(checkpoint, map_location="cpu", weights_only=False)["state_dict"]
    assert saved["backbone.layers.0.pretrained_window_size"].tolist() == [4, 4]

    pictures = tmp_path / "pictures"
    test = [str(config), str(checkpoint), "--work-dir", str(work / "test")]
    out = tmp_path / "predictions.pkl"
    tool("test").main([*test, "--show-dir", str(pictures), "--out", str(out)])
    assert sorted(path.name for path in pictures.iterdir()) == ["00000001.png", "00000002.png"]
    predictions = pickle.loads(out.read_bytes())
    assert [prediction["pred_sem_seg"]["data"].shape[0] for prediction in predictions] == [1, 1]
    assert "seg_logits" not in predictions[0]  # 150 numbers a pixel would fill the memory
    tool("test").main([*test, "--tta"])
    tool("test").main([*test, "--cfg-options", "model.test_cfg.mode=slide", "model.backbone.window_size=6"])


def test_fast_dev_run_saves_nothing(config: Path, tmp_path: Path) -> None:
    tool("train").main([str(config), "--work-dir", str(tmp_path / "work"), "--fast-dev-run"])
    assert not list((tmp_path / "work").rglob("*.pth"))


def rewrite(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        for path in (root / "annotations" / "training").iterdir():
            cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))

    return spoil


def remove(part: str) -> Callable[[Path], None]:
    return lambda root: next((root / part / "training").glob("00000002.*")).unlink()


def nothing(root: Path) -> None:
    pass


FIRST = "annotations/training/0000000"
SPOILT = {
    "value above the classes": (
        rewrite(lambda a: a + 150),
        "annotations/training/0000000",
        "with 150 classes a map has 0",
    ),
    "colours": (rewrite(lambda a: np.dstack([a] * 3)), FIRST, "image in colours"),
    "another size": (rewrite(lambda a: a[:-2]), FIRST, "but its image has"),
    "no map": (remove("annotations"), "annotations/training/00000002.png does not exist", "1 of 4"),
    "no picture": (remove("images"), "images/training/00000002.jpg does not exist", "1 of 4"),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("case", SPOILT)
def test_wrong_data(
    case: str, workers: int, config: Path, ade20k: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if workers and case.startswith("no "):
        pytest.skip("told before anything is read")
    spoil, *told = SPOILT[case]
    spoil(ade20k)
    options = ["--work-dir", str(tmp_path / "work"), "--cfg-options", f"train_dataloader.num_workers={workers}"]
    line = mistake("train", [str(config), *options], capsys)
    for part in told:
        assert part in line


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("model.decode_head.num_classes=8", ["model.decode_head.num_classes=8", "has 7 classes"]),
        ("train_dataloader.batch_size=1", ["two images", "train_dataloader.batch_size"]),
    ],
)
def test_wrong_options(
    option: str, told: list[str], config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--work-dir", str(tmp_path / "work"), "--cfg-options", option]
    line = mistake("train", [str(config), *options], capsys)
    for part in told:
        assert part in line


def test_a_151_class_head_for_ade20k(
    ade20k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADE20K_ROOT", str(ade20k))
    config = REPOSITORY / "configs" / "ade20k" / "upernet_swinv2_t.py"
    options = ["--work-dir", str(tmp_path), "--cfg-options", "model.decode_head.num_classes=151"]
    line = mistake("train", [str(config), *options], capsys)
    assert "model.decode_head.num_classes=151, but train_dataloader.dataset (ADE20KDataset) has 150 classes" in line


def test_a_folder_in_order(ade20k: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: tool("prepare/ade20k").main([str(ade20k)])) == 0
    said = capsys.readouterr().out
    assert "training: 4 pairs (the official set has 20210)" in said
    assert f"{ade20k} is in order" in said


def test_every_mistake_in_a_folder_is_listed(ade20k: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps = ade20k / "annotations" / "training"
    cv2.imwrite(str(maps / "00000001.png"), np.full((2, 2), 1, np.uint8))
    (maps / "00000002.png").unlink()
    picture = ade20k / "images" / "training" / "00000003.jpg"
    picture.write_bytes(picture.read_bytes()[:300])
    assert cli.run(lambda: tool("prepare/ade20k").main([str(ade20k)])) == 1
    said = capsys.readouterr()
    for part in ("00000001.png has 2 x 2 pixels", "00000002.png does not exist", "00000003.jpg cannot be decoded"):
        assert part in said.out
    assert said.err == f"error: {ade20k}: 3 mistakes, listed above\n"


def test_pairs_in_folders_are_checked_beside_an_image_without_map(
    ade20k: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, name in (("images", "00000001.jpg"), ("annotations", "00000001.png")):
        (ade20k / part / "training" / "more").mkdir()
        (ade20k / part / "training" / name).rename(ade20k / part / "training" / "more" / name)
    (ade20k / "annotations" / "training" / "00000002.png").unlink()
    assert cli.run(lambda: tool("prepare/ade20k").main([str(ade20k)])) == 1
    assert "training: 3 pairs" in capsys.readouterr().out


def test_images_in_training_and_validation_are_named(ade20k: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, name in (("images", "copied.jpg"), ("annotations", "copied.png")):
        folder = ade20k / part / "validation"
        for split in ("training", "validation"):
            shutil.copy(folder / f"00000001{name[-4:]}", ade20k / part / split / name)
    assert cli.run(lambda: tool("prepare/ade20k").main([str(ade20k)])) == 1
    assert "images/validation, the first copied.jpg: take them out of one" in capsys.readouterr().err


def test_a_folder_that_is_not_ade20k(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: tool("prepare/ade20k").main([str(tmp_path)])) == 1
    assert f"{tmp_path / 'images' / 'training'}" in capsys.readouterr().err
