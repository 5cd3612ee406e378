"""Released classifiers, in each publisher's format with random weights, give its logits through a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("mmpretrain", reason="needs the cls extra")

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.checkpoint.imagenet_rows import rows_of_22k
from tests.checkpoint import makers
from tests.checkpoint.makers import CLASSES, PRETRAINED, save
from tests.models.oracles import ARCH

CONFIG = Path(__file__).parents[2] / "configs" / "imagenet" / "swinv2_t_w8_256.py"


def classifier(classes: int, arch: Any = ARCH, channels: int = 256) -> nn.Module:
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(arch=arch, window_size=4)
    cfg.model.head.update(num_classes=classes, in_channels=channels)
    cfg.model.data_preprocessor.num_classes = classes
    return MODELS.build(cfg.model).eval()


@pytest.mark.parametrize("publisher", ["microsoft", "timm", "huggingface", "mmpretrain", "torchvision"])
@torch.no_grad()
def test_logits_are_the_publishers(publisher: str, tmp_path: Path) -> None:
    published = getattr(makers, publisher)()
    path = save(published, publisher, tmp_path)
    model = classifier(CLASSES)
    windows = None if publisher == "torchvision" else PRETRAINED
    report = load_pretrained(model, path, windows)
    assert report.publisher == publisher and not report.missing and not report.unexpected
    side = 128 if publisher == "torchvision" else 64
    x = torch.randn(3, 3, side, side)
    theirs = published.logits(x)
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    torch.testing.assert_close(model(x), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("own", [True, False])
def test_a_22k_head_brings_the_rows_of_the_1000_classes(own: bool, tmp_path: Path) -> None:
    arch = dict(embed_dims=8, depths=(1, 1), num_heads=(1, 1))
    theirs, ours = (_small(arch, classes) for classes in (21841, 1000))
    content = theirs.state_dict()
    if not own:  # as the authors' file
        content = {k.removeprefix("backbone.").replace("head.fc", "head"): v for k, v in content.items()}
    torch.save({"state_dict" if own else "model": content}, tmp_path / "22k.pth")
    report = load_pretrained(ours, tmp_path / "22k.pth", 4)
    rows = list(rows_of_22k())
    assert torch.equal(ours.head.fc.weight, theirs.head.fc.weight[rows])
    assert torch.equal(ours.head.fc.bias, theirs.head.fc.bias[rows])
    assert not report.missing
    assert len(report.dropped["rows of ImageNet-22K beyond the 1,000 classes"]) == 2


def test_a_head_of_another_size_is_new_and_reported(tmp_path: Path) -> None:
    arch = dict(embed_dims=8, depths=(1, 1), num_heads=(1, 1))
    theirs, ours = _small(arch, 1000), _small(arch, 10)
    before = ours.head.fc.weight.clone()
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "1k.pth")
    report = load_pretrained(ours, tmp_path / "1k.pth")
    assert torch.equal(ours.head.fc.weight, before)
    assert report.missing == ["head.fc.weight", "head.fc.bias"]
    assert report.dropped["of another shape"][0] == "head.fc.weight (1000, 16) for (10, 16)"
    assert "head.fc.weight" in str(report)


def _small(arch: dict[str, Any], classes: int) -> Any:
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(arch=arch, window_size=4, out_indices=(1,))
    cfg.model.head.update(num_classes=classes, in_channels=16)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model
