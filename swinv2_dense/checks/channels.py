"""Whether images of other channels than three colours reach the model whole and in their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from swinv2_dense.checks.loaders import loading_step
from swinv2_dense.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["check_channels", "input_channels"]

_SWAPS = ("bgr_to_rgb", "rgb_to_bgr", "to_rgb")  # options of the libraries' preprocessors


def input_channels(cfg: Config) -> int | None:
    """Channels that the config's backbone takes; None where that is no number."""
    channels = ((cfg.get("model") or {}).get("backbone") or {}).get("in_channels", 3)
    return channels if isinstance(channels, int) else None


def check_channels(cfg: Config, datasets: Iterable[tuple[str, Any]]) -> None:
    """The preprocessor fits the backbone's channels, and the order of colours that images are loaded in.

    Args:
        datasets: each with the key that it has in the config.

    Raises:
        UserError: images have too few channels, or it would drop channels, exchange colours that are in order, or has a
            mean for other channels.
    """
    key, preprocessor = _preprocessor(cfg)
    swap = next((name for name in _SWAPS if preprocessor.get(name)), None)
    channels = input_channels(cfg)
    if swap and channels not in (None, 3):
        raise UserError(
            f"{key}.{swap}=True reorders three colours and drops what is beyond, and model.backbone.in_channels is "
            f"{channels}: set it to False"
        )
    # mmengine's takes one value or three, mmseg's and mmpretrain's one of each channel
    fitting = (1,) if cfg.get("default_scope") == "mmdet" else (1, channels)
    for name in ("mean", "std"):
        values = preprocessor.get(name)
        if isinstance(values, (list, tuple)) and channels not in (None, 3) and len(values) not in fitting:
            raise UserError(
                f"{key}.{name} has {len(values)} values and model.backbone.in_channels is {channels}: give one for all "
                f"channels, {name}=[{values[0]}]"
            )
    for dataset_key, dataset in datasets:
        loading = loading_step(dataset, "LoadImageFromFile")
        if loading.get("color_type") == "grayscale" and channels not in (None, 1):
            raise UserError(
                f"{dataset_key}.pipeline loads images of one channel (color_type='grayscale'), and "
                f"model.backbone.in_channels is {channels}: leave color_type out, which makes colours of grey"
            )
        if not swap:
            continue
        if loading.get("imdecode_backend") == "tifffile" and loading.get("color_type", "color") != "color":
            raise UserError(
                f"{dataset_key}.pipeline loads by tifffile, which keeps a file's order of bands, and {key}.{swap}=True "
                "would exchange the first and the third: set it to False"
            )


def _preprocessor(cfg: Config) -> tuple[str, dict[str, Any]]:
    """Where it is: mmpretrain's configs have it beside the model as well."""
    inside = cfg.model.get("data_preprocessor")
    if isinstance(inside, dict):
        return "model.data_preprocessor", inside
    beside = cfg.get("data_preprocessor")
    return "data_preprocessor", beside if isinstance(beside, dict) else {}
