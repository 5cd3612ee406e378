"""The classifier's file is what the authors release: loadable at another window, with what was trained inside."""

from __future__ import annotations

from pathlib import Path

import torch

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.demo.classifier import pretrain
from swinv2_dense.demo.shapes import CLASSES, draw_crop
from swinv2_dense.models import SwinTransformerV2

ARCH = {"embed_dims": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}


def test_it_trains_and_saves_in_the_authors_layout(tmp_path: Path) -> None:
    notes: list[tuple[int, str]] = []
    path = tmp_path / "classifier.pth"
    model, accuracy = pretrain(
        path,
        ARCH,
        draw_crop,
        classes=len(CLASSES),
        side=32,
        window_size=[4, 4, 2, 1],
        iterations=3,
        seed=0,
        advance=lambda done, note: notes.append((done, note)),
        batch=2,
    )
    assert [done for done, _ in notes] == [1, 2, 3]
    assert 0 <= accuracy <= 1
    assert not model.training

    weights = torch.load(path, weights_only=True)["model"]
    assert torch.equal(weights["head.weight"], model.head.weight)
    assert weights["layers.0.blocks.0.attn.relative_coords_table"].shape == (1, 7, 7, 2)

    backbone = SwinTransformerV2(ARCH, window_size=8).eval()
    report = load_pretrained(backbone, path)
    assert report.publisher == "microsoft"
    assert backbone.pretrained_window_size == ((4, 4), (4, 4), (2, 2), (1, 1))
    # a map within one window of both: the larger window changes nothing
    image = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(backbone(image)[3], model.backbone(image)[0])
