"""What a config says about loading and evaluating."""

from __future__ import annotations

import filecmp
import os
from typing import TYPE_CHECKING, Any

from swinv2_dense.checks.coco_file import MAX_PIXELS
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["check_evaluator", "loading_step", "max_image_pixels"]


def max_image_pixels(cfg: Config) -> int:
    """The config's limit for an image, ``max_image_pixels``, or the default one.

    Raises:
        UserError: it is no number.
    """
    limit = cfg.get("max_image_pixels", MAX_PIXELS)
    if type(limit) not in (int, float) or not 1 <= limit < 2**63:
        raise UserError(f"max_image_pixels={limit!r} is no number of pixels: give one, such as {MAX_PIXELS}")
    return int(limit)


def loading_step(dataset: Any, name: str) -> Any:
    """The step of a data set's pipeline whose type ends with ``name``, or an empty dict."""
    steps = [step for step in dataset.get("pipeline") or () if isinstance(step, dict)]
    return next((step for step in steps if str(step.get("type")).endswith(name)), {})


def check_evaluator(evaluator: Any, key: str, dataset_key: str, dataset: Any) -> None:
    """An evaluator's annotation file is the data set's.

    Raises:
        UserError: it is another file, with other content.
    """
    for metric in evaluator if isinstance(evaluator, (list, tuple)) else [evaluator]:
        file = metric.get("ann_file") if isinstance(metric, dict) else None
        own = dataset.get("ann_file")
        if not isinstance(file, str) or not own or "://" in file:
            continue
        expected = os.path.join(dataset.get("data_root") or "", own)
        if not os.path.isfile(file):
            raise UserError(f"annotation file {shown(file)} does not exist: correct {key}.ann_file")
        if os.path.isfile(expected) and not _same(file, expected):
            raise UserError(
                f"{key}.ann_file is {shown(file)}, but {dataset_key} reads {shown(expected)}: predictions would be "
                "scored against other annotations; make both the same"
            )


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other) or filecmp.cmp(one, other, shallow=False)
