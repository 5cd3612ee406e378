"""Every image's header is checked before it is decoded, in whatever pipeline a config has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from swinv2_dense.checks.loaders import max_image_pixels

__all__ = ["CheckedImagesMixin"]


class CheckedImagesMixin:
    """To be put before mmengine's ``Runner`` or ``FlexibleRunner``: ``CheckImage`` stands before ``LoadImageFromFile``.

    It is put into the built data sets, not into the config: mmdet's and mmseg's inferencers, given the config that a
    run has saved, replace the first step of a pipeline.
    """

    cfg: Any

    def build_dataloader(self, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader:
        """mmengine's, whose static method this one calls."""
        this: Any = super()
        built = this.build_dataloader(dataloader, seed=seed, diff_rank_seed=diff_rank_seed)
        for transforms in _pipelines(built.dataset):
            _insert_check(transforms, max_image_pixels(self.cfg))
        return built


def _pipelines(dataset: Any) -> Iterator[list[Any]]:
    """The transforms of every data set inside wrappers."""
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", None)
    if isinstance(transforms, list):
        yield transforms
    inner = getattr(dataset, "dataset", None)
    for part in [*(getattr(dataset, "datasets", None) or ()), *([] if inner is None else [inner])]:
        yield from _pipelines(part)


def _insert_check(transforms: list[Any], max_pixels: int) -> None:
    types = [type(step).__name__ for step in transforms]
    if "LoadImageFromFile" not in types or "CheckImage" in types:
        return
    from swinv2_dense.datasets.image_check import CheckImage  # needs mmcv, as what it stands before does

    place = types.index("LoadImageFromFile")
    colours = getattr(transforms[place], "color_type", "color") == "color"
    transforms.insert(place, CheckImage(max_pixels, colours))
