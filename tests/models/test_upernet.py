"""UperNet on our backbone: the window of testing is the config's, with the biases of the authors' formula; tiles and
whole images agree where one tile holds the image."""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.cli import common as cli
from swinv2_dense.planning.memory_tracker import MemoryTracker
from tests.checkpoint.makers import microsoft
from tests.models.oracles import ARCH, randomize

registry = pytest.importorskip("mmseg.registry", reason="segmentation needs the seg extra")
structures = pytest.importorskip("mmseg.structures")

CONFIG = f"""
_base_ = {str(Path(__file__).parents[2] / "configs" / "ade20k" / "upernet_swinv2_t.py")!r}
model = dict(
    backbone=dict(arch=dict(_delete_=True, **{dict(ARCH)!r}), window_size=4),
    decode_head=dict(in_channels=[32, 64, 128, 256], channels=16),
    auxiliary_head=dict(in_channels=128, channels=16),
    test_cfg=dict(crop_size=(64, 64), stride=(43, 43)),
)
"""


@pytest.fixture
def built(tmp_path: Path) -> Any:
    (tmp_path / "tiny.py").write_text(CONFIG)

    def build(**options: Any) -> nn.Module:
        args = {"config": tmp_path / "tiny.py", "cfg_options": options, "launcher": "none", "work_dir": None}
        cfg = cli.load_config(argparse.Namespace(**args, local_rank=0))
        init_default_scope(cfg.default_scope)
        return randomize(registry.MODELS.build(cfg.model)).eval()

    return build


def authors_bias(mlp: nn.Module, window: int, pretrained: int) -> np.ndarray:
    """16 * sigmoid(G(dy, dx)), H x 2W-1 x 2W-1, as the authors' code has it but one offset at a time."""
    w1, b1, w2 = (p.detach().double().numpy() for p in (mlp[0].weight, mlp[0].bias, mlp[2].weight))
    offsets = np.arange(-(window - 1), window, dtype=np.float64)
    logs = [np.sign(o) * np.log2(abs(o / (pretrained - 1) * 8) + 1.0) / np.log2(8) for o in offsets]
    bias = np.empty((w2.shape[0], len(logs), len(logs)))
    for (i, dy), (j, dx) in product(enumerate(logs), repeat=2):
        hidden = np.maximum(w1 @ np.array([dy, dx]) + b1, 0)
        bias[:, i, j] = 16 / (1 + np.exp(-(w2 @ hidden)))
    return bias


def test_the_window_of_testing_is_the_configs_and_the_unit_of_its_biases_that_of_pretraining(built: Any) -> None:
    pretrained = [4, 4, 4, 2]
    model = built(**{"model.backbone.window_size": 56})
    report = load_pretrained(model, {"model": microsoft(pretrained=pretrained).state_dict})
    assert report.windows == ((56, 56),) * 4
    assert report.pretrained_windows == tuple((w, w) for w in pretrained)
    for stage, unit in zip(model.backbone.layers, pretrained, strict=True):
        attention = stage.blocks[-1].attn
        assert attention.window == (56, 56)
        expected = authors_bias(attention.cpb_mlp, 56, unit)
        with torch.no_grad():
            np.testing.assert_allclose(attention.cpb_mlp.table((56, 56)).numpy(), expected, atol=2e-4)


def test_a_segmenters_own_weights_keep_their_unit_at_another_window(built: Any) -> None:
    trained = built()
    load_pretrained(trained, {"model": microsoft(pretrained=[3, 3, 2, 2]).state_dict})
    tested = built(**{"model.backbone.window_size": 7})
    load_pretrained(tested, {"state_dict": trained.state_dict()})
    tables = [m.backbone.layers[0].blocks[1].attn.cpb_mlp for m in (trained, tested)]
    expected = authors_bias(tables[0], 7, 3)
    with torch.no_grad():
        np.testing.assert_allclose(tables[1].table((7, 7)).numpy(), expected, atol=2e-4)
        np.testing.assert_allclose(tables[0].table((4, 4)).numpy(), expected[:, 3:10, 3:10], atol=2e-4)


def predict(model: nn.Module, image: torch.Tensor, mode: str) -> Any:
    size = tuple(image.shape[1:])
    sample = structures.SegDataSample(metainfo={"ori_shape": size, "img_shape": size, "pad_shape": size})
    model.test_cfg.mode = mode
    with torch.no_grad():
        (result,) = model.test_step({"inputs": [image], "data_samples": [sample]})
    return result


@pytest.mark.parametrize("size", [(64, 64), (40, 61)])
def test_slide_equals_whole_where_one_tile_holds_the_image(built: Any, size: tuple[int, int]) -> None:
    model = built()
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    whole, slide = (predict(model, image, mode) for mode in ("whole", "slide"))
    assert torch.equal(whole.pred_sem_seg.data, slide.pred_sem_seg.data)
    torch.testing.assert_close(whole.seg_logits.data, slide.seg_logits.data)
    assert len(whole.pred_sem_seg.data.unique()) > 1


def test_tiles_are_used_beyond_one_tile(built: Any) -> None:
    model = built()
    image = torch.randint(0, 256, (3, 80, 100), dtype=torch.uint8)
    whole, slide = (predict(model, image, mode) for mode in ("whole", "slide"))
    assert whole.pred_sem_seg.data.shape == slide.pred_sem_seg.data.shape == (1, 80, 100)
    assert not torch.allclose(whole.seg_logits.data, slide.seg_logits.data)


def test_whole_images_fit_into_the_memory_of_tiles_and_the_features(built: Any) -> None:
    """The decoder's width and classes as in the config: its maps, and the scores of every pixel, are what counts."""
    model = built(**{"model.decode_head.channels": 512, "model.test_cfg.stride": (64, 64)})
    image = torch.randint(0, 256, (3, 128, 192), dtype=torch.uint8)
    peaks = {}
    for mode in ("whole", "slide"):
        with MemoryTracker(model) as live:
            predict(model, image, mode)
        peaks[mode] = max(moment.activations for moment in live.moments)
    with torch.no_grad():
        features = sum(feature.nbytes for feature in model.backbone(torch.rand(1, 3, 128, 192)))
    assert peaks["whole"] <= peaks["slide"] + features
