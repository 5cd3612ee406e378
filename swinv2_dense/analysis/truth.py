"""The truth of a config's validation data, as if it were a perfect model's prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope

from swinv2_dense.analysis.confusion import IGNORED
from swinv2_dense.errors import UserError
from swinv2_dense.inference.results import Classification, Detections, Result, SegmentationMap

__all__ = ["truths"]


def truths(cfg: Config) -> Iterator[Result]:
    """For each image or clip of the validation data its truth; ``source`` is its file, ``image`` is empty.

    COCO's crowds are left out.

    Raises:
        UserError: the config has no validation data.
    """
    if not cfg.get("val_dataloader"):
        raise UserError("the run's config has no val_dataloader: there is nothing to compare predictions with")
    scope = str(cfg.get("default_scope"))
    init_default_scope(scope)
    data = cfg.val_dataloader.dataset
    dataset = DATASETS.build({**data, "pipeline": []})
    loading = [
        step for step in data.pipeline if str(step["type"]).rsplit(".", 1)[-1] in ("LoadIndexMap", "LoadAnnotations")
    ]
    load: Any = TRANSFORMS.build(loading[0]) if scope == "mmseg" else None
    names = list(dataset.metainfo.get("classes") or ())
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        about: dict[str, Any] = {"image": np.zeros((0, 0, 3), np.uint8), "classes": names}
        about |= {"palette": dataset.metainfo.get("palette") or ()}
        if scope == "mmdet":
            kept = [o for o in info["instances"] if not o.get("ignore_flag")]
            boxes = np.array([o["bbox"] for o in kept], np.float32).reshape(-1, 4)
            labels = np.array([o["bbox_label"] for o in kept], np.int64)
            yield Detections(**about, source=info["img_path"], boxes=boxes, labels=labels, scores=np.ones(len(kept)))
        elif scope == "mmseg":
            yield _map(load, info, about)
        else:
            label = int(info["gt_label"] if "gt_label" in info else info["label"])
            place = info.get("img_path") or info["filename"]
            yield Classification(**about, source=place, labels=np.array([label]), scores=np.ones(1))


def _map(load: Any, info: dict[str, Any], about: dict[str, Any]) -> SegmentationMap:
    """Of an index map; ignored pixels are no class of it, so that they are not painted."""
    from swinv2_dense.visualization.image_names import read_displayed

    size = read_displayed(info["img_path"]).shape[:2]
    loaded = load({**info, "ori_shape": size, "img_shape": size})["gt_seg_map"]
    keep = [int(label) for label in np.unique(loaded) if label != IGNORED]
    return SegmentationMap.of(loaded, keep, **about, source=info["img_path"])
