"""torchvision's SwinV2, as torchvision saves it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from swinv2_dense.checkpoint import convert, load_pretrained
from swinv2_dense.models import SwinTransformerV2
from tests.checkpoint.makers import CLASSES
from tests.checkpoint.makers import timm as timm_model
from tests.models.oracles import ARCH, randomize


def torchvision_model() -> nn.Module:
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

    model = SwinTransformer(
        patch_size=[4, 4],
        embed_dim=ARCH["embed_dims"],
        depths=list(ARCH["depths"]),
        num_heads=list(ARCH["num_heads"]),
        window_size=[4, 4],
        num_classes=CLASSES,
        block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
    )
    return randomize(model)


@torch.no_grad()
def test_features_equal_torchvisions(tmp_path: Path) -> None:
    theirs = torchvision_model()
    torch.save(theirs.state_dict(), tmp_path / "swin_v2.pth")
    ours = SwinTransformerV2(ARCH, window_size=4, out_indices=(3,)).eval()
    report = load_pretrained(ours, tmp_path / "swin_v2.pth")
    assert report.publisher == "torchvision"
    assert report.pretrained_windows == ((4, 4),) * 4
    assert not report.missing and not report.unexpected
    x = torch.randn(2, 3, 128, 128)
    expected = theirs.norm(theirs.features(x)).permute(0, 3, 1, 2)
    torch.testing.assert_close(ours(x)[0], expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_it_converts_to_another_publishers_layout(tmp_path: Path) -> None:
    theirs, timms = torchvision_model(), timm_model(size=128, window=4, pretrained=[0] * 4)
    torch.save(theirs.state_dict(), tmp_path / "swin_v2.pth")
    assert convert(tmp_path / "swin_v2.pth", tmp_path / "timm.pth", "timm", window_size=4, image_size=128) == []
    timms.model.load_state_dict(torch.load(tmp_path / "timm.pth", weights_only=True), strict=False)
    x = torch.randn(2, 3, 128, 128)
    torch.testing.assert_close(timms.logits(x), theirs(x), rtol=1e-4, atol=1e-4)
