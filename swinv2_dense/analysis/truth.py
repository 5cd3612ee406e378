"""The truth of a config's validation data, as if it were a perfect model's prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from swinv2_dense.analysis.confusion import IGNORED, Objects
from swinv2_dense.checks.classes import check_same_classes
from swinv2_dense.checks.dataset import check_dataset, leaf_datasets
from swinv2_dense.errors import UserError
from swinv2_dense.inference.results import Classification, Result, SegmentationMap

__all__ = ["truths"]


def truths(cfg: Config) -> Iterator[Result]:
    """For each image or clip of the validation data its truth; ``source`` is its file, ``image`` is empty.

    Raises:
        UserError: the config has no validation data, or they are not those of its model, as in training.
    """
    if not cfg.get("val_dataloader"):
        raise UserError("the run's config has no val_dataloader: there is nothing to compare predictions with")
    scope = str(cfg.get("default_scope"))
    init_default_scope(scope)
    datasets = list(leaf_datasets(cfg.val_dataloader.dataset, "val_dataloader.dataset"))
    named = [(key, classes) for key, data in datasets if (classes := check_dataset(cfg, key, data, train=False))]
    check_same_classes(named)
    for _, data in datasets:
        yield from _of_dataset(data, scope)


def _of_dataset(data: Any, scope: str) -> Iterator[Result]:
    dataset = DATASETS.build({**data, "pipeline": []})
    loading = [
        step for step in data.pipeline if str(step["type"]).rsplit(".", 1)[-1] in ("LoadIndexMap", "LoadAnnotations")
    ]
    if scope == "mmseg" and not loading:
        raise UserError("the run's val_dataloader loads no class maps: there is nothing to compare predictions with")
    load: Any = TRANSFORMS.build(loading[0]) if scope == "mmseg" else None
    names = list(dataset.metainfo.get("classes") or ())
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        about: dict[str, Any] = {"image": np.zeros((0, 0, 3), np.uint8), "classes": names}
        about |= {"palette": dataset.metainfo.get("palette") or ()}
        if scope == "mmdet":
            boxes, labels = _boxes(info["instances"], crowds=False)
            crowds, crowd_labels = _boxes(info["instances"], crowds=True)
            about |= {"source": info["img_path"], "scores": np.ones(len(labels))}
            about |= {"segmentations": [one.get("mask") for one in info["instances"] if not one.get("ignore_flag")]}
            yield Objects(**about, boxes=boxes, labels=labels, crowds=crowds, crowd_labels=crowd_labels)
        elif scope == "mmseg":
            yield _map(load, info, about)
        else:
            label = int(info["gt_label"] if "gt_label" in info else info["label"])
            place = info.get("img_path") or info["filename"]
            yield Classification(**about, source=place, labels=np.array([label]), scores=np.ones(1))


def _boxes(instances: Iterable[Mapping[str, Any]], *, crowds: bool) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N x 4) and labels (N) of single objects or of crowds."""
    kept = [one for one in instances if bool(one.get("ignore_flag")) == crowds]
    boxes = np.array([one["bbox"] for one in kept], np.float32).reshape(-1, 4)
    return boxes, np.array([one["bbox_label"] for one in kept], np.int64)


def _map(load: Any, info: dict[str, Any], about: dict[str, Any]) -> SegmentationMap:
    """Of an index map; ignored pixels are no class of it, so that they are not painted."""
    from swinv2_dense.visualization.image_names import read_displayed

    size = read_displayed(info["img_path"]).shape[:2]
    loaded = load({**info, "ori_shape": size, "img_shape": size})["gt_seg_map"]
    keep = [int(label) for label in np.unique(loaded) if label != IGNORED]
    return SegmentationMap.of(loaded, keep, **about, source=info["img_path"])
