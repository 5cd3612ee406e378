"""Every image's header is checked before it is decoded, in whatever pipeline a config has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from torch.utils.data import DataLoader

from swinv2_dense.checks.channels import input_channels
from swinv2_dense.checks.loaders import max_image_pixels

__all__ = ["CheckedImagesMixin", "insert_checks"]


class CheckedImagesMixin:
    """To be put before mmengine's ``Runner`` or ``FlexibleRunner``: ``CheckImage`` stands before ``LoadImageFromFile``,
    and ``BandsLast`` behind one that loads TIFFs whole.

    It is put into the built data sets, not into the config: mmdet's and mmseg's inferencers, given the config that a
    run has saved, replace the first step of a pipeline.
    """

    cfg: Any

    def build_dataloader(self, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader:
        """mmengine's, whose static method this one calls."""
        this: Any = super()
        built = this.build_dataloader(dataloader, seed=seed, diff_rank_seed=diff_rank_seed)
        for transforms in _pipelines(built.dataset):
            insert_checks(transforms, self.cfg)
        return built


def _pipelines(dataset: Any) -> Iterator[list[Any]]:
    """The transforms of every data set inside wrappers."""
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", None)
    if isinstance(transforms, list):
        yield transforms
    inner = getattr(dataset, "dataset", None)
    for part in [*(getattr(dataset, "datasets", None) or ()), *([] if inner is None else [inner])]:
        yield from _pipelines(part)


def insert_checks(transforms: list[Any], cfg: Config) -> None:
    """Put ``CheckImage``, and ``BandsLast`` where it is needed, into a built pipeline that loads images and lacks
    them."""
    types = [type(step).__name__ for step in transforms]
    if "LoadImageFromFile" not in types or "CheckImage" in types:
        return
    from swinv2_dense.datasets.image_check import CheckImage  # needs mmcv, as what it stands before does
    from swinv2_dense.datasets.tiff_bands import BandsLast

    place = types.index("LoadImageFromFile")
    colours = getattr(transforms[place], "color_type", "color") == "color"
    whole = not colours and getattr(transforms[place], "imdecode_backend", "cv2") == "tifffile"
    if whole:
        transforms.insert(place + 1, BandsLast())
    transforms.insert(place, CheckImage(max_image_pixels(cfg), colours, whole, input_channels(cfg)))
