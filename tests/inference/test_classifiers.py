"""Classifiers by MMPretrain's names: built, with the authors' weights where they can be had, and used for an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("mmpretrain", reason="needs the cls extra")

import swinv2_dense
from swinv2_dense.errors import UserError
from swinv2_dense.model_index import released_weights

NAME = "swinv2-tiny-w8_3rdparty_in1k-256px"


def test_the_name_finds_the_model_and_its_features() -> None:
    assert swinv2_dense.list_models(NAME) == ["imagenet/swinv2_t_w8_256"]
    model = swinv2_dense.get_model(NAME)
    assert not model.training and model.head.num_classes == 1000
    with torch.no_grad():
        (features,) = model.extract_feat(torch.zeros(1, 3, 64, 64))
    assert features.shape == (1, 768)


def test_pretrained_asks_for_the_authors_file(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def no_network(_model: object, source: str) -> None:
        asked.append(source)
        raise UserError(f"checkpoint {source} could not be fetched")

    monkeypatch.setattr("swinv2_dense.checkpoint.load_pretrained", no_network)
    with pytest.raises(UserError, match="could not be fetched"):
        swinv2_dense.get_model("swinv2-base-w24_in21k-pre_3rdparty_in1k-384px", pretrained=True)
    assert asked == [
        "https://github.com/SwinTransformer/storage/releases/download/v2.0.0/"
        "swinv2_base_patch4_window12to24_192to384_22kto1k_ft.pth"
    ]
    assert released_weights(None) is None


def test_inference_names_the_class(tmp_path: Path) -> None:
    model = swinv2_dense.get_model(NAME)
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    result = swinv2_dense.inference_model(model, str(tmp_path / "a.png"))
    names = [name for one in (result if isinstance(result, list) else [result]) for name in one.names]
    assert names and not names[0].startswith("class ")
