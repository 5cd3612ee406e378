"""mmseg's own init_model, inference_model and MMSegInferencer work with our configs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

pytest.importorskip("mmseg", reason="segmentation needs the seg extra")

from mmseg.apis import MMSegInferencer, inference_model, init_model

import swinv2_dense.datasets.index_maps  # noqa: F401  registers
from tests.tiny import REPOSITORY

CONFIG = REPOSITORY / "configs" / "ade20k" / "upernet_swinv2_t.py"
SMALL = {
    "model.backbone.arch": {"_delete_": True, "embed_dims": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)},
    "model.backbone.window_size": 4,
    "model.decode_head.in_channels": [8, 16, 32, 64],
    "model.decode_head.channels": 8,
    "model.auxiliary_head.in_channels": 32,
    "model.auxiliary_head.channels": 8,
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict(SMALL)
    for step in (*cfg.test_pipeline, *cfg.test_dataloader.dataset.pipeline):
        if step.type == "Resize":
            step.scale = (256, 64)
    path = tmp_path / "small.py"
    path.write_text(cfg.pretty_text)
    return path


def test_models_and_inferencers(config: Path, tmp_path: Path, clean_run: None) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 70, 3), np.uint8)
    model = init_model(str(config), device="cpu")
    weights = tmp_path / "weights.pth"
    torch.save(
        {"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": ["a"], "palette": [[0, 0, 0]]}}},
        weights,
    )
    expected = inference_model(init_model(str(config), str(weights), device="cpu"), image).pred_sem_seg.data
    assert expected.shape == (1, 48, 70)
    predicted = MMSegInferencer(str(config), str(weights), device="cpu")(image)["predictions"]
    assert np.array_equal(predicted, expected[0].numpy())
