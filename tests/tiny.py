"""A COCO-format data set of a few generated pictures, and a tiny HTC config on it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mmengine.utils import ManagerMixin

from swinv2_dense.cli import common as cli
from swinv2_dense.demo.shapes_coco import write_shapes_coco

REPOSITORY = Path(__file__).parents[1]

# The demo's model, smaller still, with the loops of an epoch-based run.
CONFIG = f"""
_base_ = {str(REPOSITORY / "configs" / "demo" / "htc_swinv2_demo.py")!r}
model = dict(
    backbone=dict(arch=dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)), window_size=4),
    neck=dict(in_channels=[8, 16, 32, 64]),
    test_cfg=dict(rpn=dict(nms_pre=20, max_per_img=20), rcnn=dict(score_thr=0.0, max_per_img=5)),
)


def smaller(pipeline):
    return [dict(step, scale=(64, 64)) if step["type"] == "Resize" else step for step in pipeline]


train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(type="DefaultSampler"),
    dataset=dict(pipeline=smaller(_base_.train_pipeline)),
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(pipeline=smaller(_base_.test_pipeline))
)
test_dataloader = val_dataloader
train_cfg = dict(_delete_=True, type="EpochBasedTrainLoop", max_epochs=1)
default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))
"""


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """ROOT/annotations, train2017, val2017 and stuffthingmaps: 4 pictures to train on, 2 to validate on."""
    root = tmp_path / "coco"
    write_shapes_coco(root, train=4, val=2, side=64)
    return root


@pytest.fixture
def clean_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test needs that runs a runner in this process."""
    # Laying the config out prettily takes longer than training on it.
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, True))
    # Planning a step takes longer than one; tests/planning/test_fit.py is about it.
    monkeypatch.setattr("swinv2_dense.planning.fit.warning", lambda cfg: None)
    yield
    # mmengine keeps one of each per process: the next run would log to this one's closed files.
    for kept in _all_subclasses(ManagerMixin):
        kept._instance_dict.clear()


@pytest.fixture
def config(tmp_path: Path, coco: Path, monkeypatch: pytest.MonkeyPatch, clean_run: None) -> Path:
    """A config file on these pictures."""
    monkeypatch.setenv("SHAPES_ROOT", str(coco))
    path = tmp_path / "tiny.py"
    path.write_text(CONFIG)
    return path


def _all_subclasses(parent: type) -> list[Any]:
    return [parent, *(child for direct in parent.__subclasses__() for child in _all_subclasses(direct))]


def tool(name: str) -> ModuleType:
    """The module of a command, such as ``train`` or ``prepare/coco``."""
    return importlib.import_module(f"swinv2_dense.cli.{name.replace('/', '.')}")


def mistake(name: str, argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a program that is to fail; returns its one line."""
    capsys.readouterr()
    assert cli.run(lambda: tool(name).main(argv)) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("error", "Traceback"))]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]
