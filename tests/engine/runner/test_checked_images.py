"""The runner checks every image before it is decoded, in pipelines that do not say so themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config

from swinv2_dense.datasets.image_check import CheckImage
from swinv2_dense.engine.runner.checked_images import CheckedImagesMixin


class Base:
    @staticmethod
    def build_dataloader(dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        return dataloader


class Runner(CheckedImagesMixin, Base):
    cfg = Config({"max_image_pixels": 1000})


def data(*steps: Any) -> Any:
    return SimpleNamespace(pipeline=SimpleNamespace(transforms=list(steps)))


def test_the_check_stands_before_loading() -> None:
    load, whole, other = LoadImageFromFile(), LoadImageFromFile(color_type="unchanged"), object()
    inner, second = data(other, load), data(whole)
    loader = SimpleNamespace(dataset=SimpleNamespace(datasets=[SimpleNamespace(dataset=inner), second]))
    assert Runner().build_dataloader(loader, seed=1) is loader
    first, check, last = inner.pipeline.transforms
    assert (first, last) == (other, load)
    assert (check.max_pixels, check.colours) == (1000, True)
    assert not second.pipeline.transforms[0].colours
    assert (check.whole, second.pipeline.transforms[0].whole, second.pipeline.transforms[0].channels) == (
        False,
    ) * 2 + (3,)
    assert len(second.pipeline.transforms) == 2
    Runner().build_dataloader(loader)  # once is enough
    assert len(inner.pipeline.transforms) == 3


def test_pipelines_that_check_or_load_otherwise_stay() -> None:
    own, array = data(CheckImage(5), LoadImageFromFile()), data(object())
    for dataset in (own, array, SimpleNamespace()):
        Runner().build_dataloader(SimpleNamespace(dataset=dataset))
    assert len(own.pipeline.transforms) == 2
    assert len(array.pipeline.transforms) == 1


def test_behind_what_loads_tiffs_whole_their_bands_are_put_last() -> None:
    dataset = data(LoadImageFromFile(color_type="unchanged", imdecode_backend="tifffile"), object())
    runner = Runner()
    runner.cfg = Config({"model": {"backbone": {"in_channels": 6}}})
    for _ in range(2):
        runner.build_dataloader(SimpleNamespace(dataset=dataset))
    assert [type(step).__name__ for step in dataset.pipeline.transforms] == [
        "CheckImage",
        "LoadImageFromFile",
        "BandsLast",
        "object",
    ]
    check = dataset.pipeline.transforms[0]
    assert (check.whole, check.channels) == (True, 6)
