"""What prepares an image for a model: a config's testing pipeline, on images instead of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from swinv2_dense.inference.model_loading import LoadedModel

__all__ = ["composed", "entry", "same_shape"]


def entry(image: np.ndarray, name: str) -> dict[str, Any]:
    """What the libraries' loading transforms make of a file."""
    size = image.shape[:2]
    return {
        "img": image,
        "img_path": name,
        "img_id": 0,
        "sample_idx": 0,
        "img_shape": size,
        "ori_shape": size,
        "height": size[0],
        "width": size[1],
        "scale_factor": (1.0, 1.0),
        "flip": False,
        "flip_direction": None,
        "seg_fields": [],
        "reduce_zero_label": False,
    }


def composed(loaded: LoadedModel) -> Callable[[dict[str, Any]], Any]:
    """The pipeline without what reads images and annotations; a video's reads its clip itself."""
    from mmengine.dataset import Compose
    from mmengine.registry import DefaultScope

    steps = loaded.pipeline if loaded.task == "video" else _without_loading(loaded.pipeline)
    if loaded.task == "simmim":
        steps = _without_chance(steps)
    with DefaultScope.overwrite_default_scope(loaded.scope):
        composed: Callable[[dict[str, Any]], Any] = Compose(steps)
    return composed


def _without_loading(steps: Sequence[Any]) -> list[Any]:
    kept = []
    for step in steps:
        if str(step["type"]).rpartition(".")[2].startswith("Load"):
            continue
        if "transforms" in step:  # of test-time augmentation: a list of alternatives for each step
            alternatives = [_without_loading(choices) for choices in step["transforms"]]
            step = {**step, "transforms": [choices for choices in alternatives if choices]}
        kept.append(step)
    return kept


def _without_chance(steps: Sequence[Any]) -> list[Any]:
    """A pipeline of pre-training, with the middle of the image in the place of a random part. Masks stay random."""
    kept = []
    for step in steps:
        kind = str(step["type"]).rpartition(".")[2]
        if kind == "RandomResizedCrop":
            scale = step["scale"]
            short = scale if isinstance(scale, int) else max(scale)
            kept += [
                {"type": "ResizeEdge", "scale": short, "edge": "short"},
                {"type": "CenterCrop", "crop_size": scale},
            ]
        elif not kind.startswith("Random"):
            kept.append(step)
    return kept


def same_shape(one: Any, other: Any) -> bool:
    """Whether two entries can be predicted together, and each as if it were alone: without padding."""
    if one is None or other is None:
        return False
    a, b = one["inputs"], other["inputs"]
    if isinstance(a, (list, tuple)):
        return [view.shape for view in a] == [view.shape for view in b]
    return bool(a.shape == b.shape)
