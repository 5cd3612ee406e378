"""Tiny untrained models of every task, as checkpoints that a run could have saved, and images for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from swinv2_dense.demo.shapes import draw_scene
from tests.tiny import CONFIG as DETECTION
from tests.tiny import REPOSITORY

_BACKBONE = "arch=dict({delete}embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))"

SEGMENTATION = f"""
_base_ = {str(REPOSITORY / "configs" / "demo" / "upernet_swinv2_demo.py")!r}
sync_bn = None
model = dict(
    backbone=dict({_BACKBONE.format(delete="_delete_=True, ")}, window_size=4),
    decode_head=dict(in_channels=[8, 16, 32, 64], channels=8, norm_cfg=dict(type="BN")),
    auxiliary_head=dict(in_channels=32, channels=8, norm_cfg=dict(type="BN")),
    test_cfg=dict(_delete_=True, mode="whole"),
)
tta_model = dict(type="SegTTAModel")
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
"""
VIDEO = f"""
_base_ = {str(REPOSITORY / "configs" / "demo" / "video_swinv2_demo.py")!r}
model = dict(
    backbone=dict({_BACKBONE.format(delete="_delete_=True, ")}, window_size=(2, 4, 4)),
    cls_head=dict(in_channels=64),
)
"""
CLASSIFICATION = f"""
default_scope = "mmpretrain"
custom_imports = dict(imports=["swinv2_dense"])
model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="swinv2_dense.SwinTransformerV2", {_BACKBONE.format(delete="")}, window_size=4, out_indices=(3,)
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=3, in_channels=64),
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
)
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=72, edge="short"),
    dict(type="CenterCrop", crop_size=64),
    dict(type="PackInputs"),
]
test_dataloader = dict(dataset=dict(type="CustomDataset", pipeline=test_pipeline))
test_cfg = dict()
"""
SIMMIM = f"""
_base_ = [
    {str(REPOSITORY / "configs" / "_base_" / "models" / "simmim_swinv2.py")!r},
    {str(REPOSITORY / "configs" / "_base_" / "datasets" / "images_192.py")!r},
    {str(REPOSITORY / "configs" / "_base_" / "simmim_runtime.py")!r},
]
model = dict(backbone=dict({_BACKBONE.format(delete="_delete_=True, ")}, window_size=4), neck=dict(in_channels=64))
train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="RandomResizedCrop", scale=64),
            dict(type="RandomFlip", prob=0.5),
            dict(type="swinv2_dense.BlockMask", mask_patch_size=32, model_patch_size=4, ratio=0.6),
            dict(type="PackInputs", algorithm_keys=["mask"]),
        ]
    )
)
"""
CLASSES: dict[str, tuple[str, ...]] = {
    "simmim": (),
    "segmentation": ("sky", "mountain", "sea", "grass", "road", "tree", "house"),
    "video": ("left", "right", "up", "down", "turning", "growing", "shrinking"),
    "classification": ("cat", "dog", "bird"),
    "detection": ("circle", "square", "triangle", "star"),
}
NEEDS = {"detection": "mmdet", "segmentation": "mmseg", "video": "mmaction", "classification": "mmpretrain"}
NEEDS["simmim"] = "mmpretrain"


def _shallow(text: str) -> str:
    """Of four stages the first two: exporting a block takes seconds, whatever its size. Of these maps of 16 and 8
    tokens with windows of 4; late stages, of one window, are tested beside the exporter."""
    for whole, part in (
        ("(1, 1, 1, 1)", "(1, 1)"),
        ("in_channels=64", "in_channels=16"),
        ("out_indices=(3,)", "out_indices=(1,)"),
        ("window_size=(2, 4, 4)", "window_size=(2, 4, 4), out_indices=1"),
        ("window_size=4)", "window_size=4, out_indices=(0, 1))"),
        ("in_channels=[8, 16, 32, 64]", "in_channels=[8, 16], in_index=[0, 1]"),
        ("in_channels=32", "in_channels=16, in_index=1"),
    ):
        text = text.replace(whole, part)
    return text


class Run(NamedTuple):
    """``config``: the file; ``checkpoint``: weights with the config in them; ``weights``: the same without."""

    config: Path
    checkpoint: Path
    weights: Path


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """By task, a run; made once. ``shallow TASK`` has two stages."""
    texts = {"detection": DETECTION, "segmentation": SEGMENTATION, "video": VIDEO, "classification": CLASSIFICATION}
    texts["simmim"] = SIMMIM
    texts |= {f"shallow {task}": _shallow(texts[task]) for task in ("classification", "segmentation", "video")}
    made: dict[str, Run] = {}

    def make(task: str) -> Run:
        kind = task.removeprefix("shallow ")
        pytest.importorskip(NEEDS[kind], reason=f"needs {NEEDS[kind]}")
        if task not in made:
            folder = tmp_path_factory.mktemp(kind)
            (folder / "tiny.py").write_text(texts[task])
            made[task] = _run(folder, CLASSES[kind])
        return made[task]

    return make


def _run(folder: Path, classes: tuple[str, ...]) -> Run:
    import torch
    from mmengine.config import Config

    from swinv2_dense.inference import get_model

    torch.manual_seed(0)
    model = get_model(folder / "tiny.py", device="cpu")
    for parameter in model.parameters():  # so that no prediction is the same everywhere
        torch.nn.init.normal_(parameter, std=0.1)
    state: dict[str, Any] = {"state_dict": model.state_dict()}
    torch.save(state, folder / "weights.pth")
    meta = {"cfg": Config.fromfile(folder / "tiny.py").pretty_text, "dataset_meta": {"classes": classes}}
    torch.save({**state, "meta": meta}, folder / "epoch_1.pth")
    return Run(folder / "tiny.py", folder / "epoch_1.pth", folder / "weights.pth")


@pytest.fixture
def image() -> np.ndarray:
    """uint8, 60 x 80 x 3."""
    return draw_scene(np.random.default_rng(0), (60, 80), 4).image


@pytest.fixture
def folder(tmp_path: Path, image: np.ndarray) -> Path:
    """Three images, one of them in a folder below, one of another size, and a file that is none."""
    root = tmp_path / "images"
    (root / "below").mkdir(parents=True)
    cv2.imwrite(str(root / "a.png"), image)
    cv2.imwrite(str(root / "below" / "b.png"), image[:, ::-1])
    cv2.imwrite(str(root / "c.png"), image[:40])
    (root / "notes.txt").write_text("no image")
    return root


@pytest.fixture
def video(tmp_path: Path, image: np.ndarray) -> Path:
    """Six frames, 64 x 64."""
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for shift in range(6):
        writer.write(np.ascontiguousarray(np.roll(cv2.resize(image, (64, 64)), 4 * shift, axis=1)))
    writer.release()
    return path
