"""Preprocessors that would drop or exchange channels are refused before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("mmcv", reason="needs mmcv")

from mmengine.config import Config

from swinv2_dense.checks.channels import check_channels, input_channels
from swinv2_dense.errors import UserError

WHOLE = {"type": "LoadImageFromFile", "color_type": "unchanged", "imdecode_backend": "tifffile"}


def config(channels: int = 3, scope: str = "mmdet", **preprocessor: Any) -> Config:
    model = {"backbone": {"in_channels": channels}, "data_preprocessor": preprocessor}
    return Config({"default_scope": scope, "model": model})


def loaded_by(**step: Any) -> list[tuple[str, Any]]:
    return [("train_dataloader.dataset", {"pipeline": [step]})]


@pytest.mark.parametrize(
    "cfg",
    [
        config(bgr_to_rgb=True, mean=[1, 2, 3], std=[1, 2, 3]),
        config(6, bgr_to_rgb=False, mean=[1], std=[1]),
        config(6, "mmseg", mean=[1] * 6, std=[1] * 6),
        config(1, mean=[1], std=[2]),
        Config({"model": {"backbone": {"type": "Other"}}}),
    ],
)
def test_what_fits_passes(cfg: Config) -> None:
    check_channels(cfg, loaded_by(type="LoadImageFromFile"))


@pytest.mark.parametrize("swap", ["bgr_to_rgb", "rgb_to_bgr", "to_rgb"])
def test_an_exchange_of_three_colours(swap: str) -> None:
    for channels in (1, 4, 6):
        with pytest.raises(UserError, match=rf"model\.data_preprocessor\.{swap}=True .*in_channels is {channels}"):
            check_channels(config(channels, **{swap: True}), [])
    with pytest.raises(UserError, match=r"train_dataloader\.dataset\.pipeline loads by tifffile"):
        check_channels(config(**{swap: True}), loaded_by(**WHOLE))
    check_channels(config(6), loaded_by(**WHOLE))
    beside = Config({"model": {"backbone": {"in_channels": 6}}, "data_preprocessor": {swap: True}})
    with pytest.raises(UserError, match=rf"^data_preprocessor\.{swap}=True"):
        check_channels(beside, [])


@pytest.mark.parametrize(("scope", "values"), [("mmdet", 3), ("mmdet", 6), ("mmseg", 3), ("mmpretrain", 2)])
@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_mean_of_other_channels(scope: str, values: int, name: str) -> None:
    with pytest.raises(UserError, match=rf"model\.data_preprocessor\.{name} has {values} values .* {name}=\[9\]"):
        check_channels(config(6, scope, **{name: [9] * values}), [])


def test_channels_of_other_models_are_not_known() -> None:
    assert input_channels(Config({"model": {"backbone": {"in_channels": [3, 4]}}})) is None
    assert input_channels(Config({"model": {}})) == 3


def test_grey_images_are_loaded_as_colours() -> None:
    grey = loaded_by(type="LoadImageFromFile", color_type="grayscale")
    check_channels(config(1, mean=[1], std=[1]), grey)
    for swap in (True, False):
        with pytest.raises(
            UserError, match=r"loads images of one channel .*model\.backbone\.in_channels is 3: leave color_type out"
        ):
            check_channels(config(bgr_to_rgb=swap), grey)
