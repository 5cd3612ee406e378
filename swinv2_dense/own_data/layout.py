"""Own data as the config's data sets read them: written to the run's folder, and the entries that name it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown, write_text
from swinv2_dense.own_data.samples import Found, Sample

__all__ = ["replace_dataset", "write_dataset"]

_FOLDER_KEYS = ("type", "data_root", "ann_file", "data_prefix", "metainfo", "num_classes", "split", "filter_cfg",
                "img_suffix", "seg_map_suffix", "reduce_zero_label")  # fmt: skip


def write_dataset(found: Found, scope: str, split: str, folder: Path) -> dict[str, Any]:
    """Write what lists a split to ``folder``; returns the entries of a data set that reads it, without pipeline.

    Images and clips stay where they are, below ``found.root``.
    """
    samples, root = found.splits[split], f"{found.root}{os.sep}"
    metainfo: dict[str, Any] = {"classes": tuple(found.classes)}
    if scope == "mmdet":
        path = folder / f"{split}.json"
        write_text(path, json.dumps(_coco(found, samples)))
        metainfo["palette"] = _palette(len(found.classes))
        return {"type": "CocoDataset", "data_root": root, "ann_file": str(path), "data_prefix": {"img": ""},
                "metainfo": metainfo}  # fmt: skip
    path, labels = folder / f"{split}.txt", {name: label for label, name in enumerate(found.classes)}
    names = [_name(found, sample) for sample in samples]
    if scope == "mmseg":
        write_text(path, "".join(f"{name}\n" for name in names))
        metainfo["palette"] = _palette(len(found.classes))
        prefix = {"img_path": root, "seg_map_path": str(folder / "maps")}
        return {"type": "BaseSegDataset", "ann_file": str(path), "data_prefix": prefix, "metainfo": metainfo,
                "img_suffix": "", "seg_map_suffix": ".png", "reduce_zero_label": True}  # fmt: skip
    write_text(path, "".join(f"{n} {labels[s.classes[0]]}\n" for n, s in zip(names, samples, strict=True)))
    if scope == "mmpretrain":
        return {"type": "CustomDataset", "data_root": root, "ann_file": str(path), "data_prefix": "",
                "metainfo": metainfo}  # fmt: skip
    return {"type": "swinv2_dense.VideoClips", "data_root": root, "ann_file": str(path), "data_prefix": {"video": ""},
            "metainfo": metainfo, "num_classes": len(found.classes)}  # fmt: skip


def replace_dataset(dataset: Any, entries: dict[str, Any], *, train: bool) -> dict[str, Any]:
    """A config's data set with its data exchanged; its pipeline and what else is no matter of the data stay.

    Raises:
        UserError: the data set is several in one, of which none can be exchanged.
    """
    if "dataset" in dataset or "datasets" in dataset:
        raise UserError(f"--data: the config's data set is a {dataset.type}, which cannot be exchanged; take another")
    kept = {key: value for key, value in dataset.items() if key not in _FOLDER_KEYS or (key == "filter_cfg" and train)}
    return {**entries, **kept}


def _name(found: Found, sample: Sample) -> str:
    name = sample.path.relative_to(found.root).as_posix()
    if name != name.strip() or "\n" in name:
        raise UserError(f"{shown(sample.path)}: names that begin or end with a space cannot be listed: rename it")
    return name


def _coco(found: Found, samples: list[Sample]) -> dict[str, Any]:
    ids = {name: index for index, name in enumerate(found.classes, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, start=1):
        height, width = sample.size or (0, 0)
        images.append({"id": number, "file_name": _name(found, sample), "height": height, "width": width})
        for o in sample.objects:
            entry = {key: value for key, value in o.items() if key != "category"}
            entry |= {"id": len(annotations) + 1, "image_id": number, "category_id": ids[o["category"]]}
            annotations.append(entry)
    categories = [{"id": index, "name": name} for name, index in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _palette(count: int) -> list[tuple[int, ...]]:
    """Colours as far apart in hue as there are classes, alternately light and dark."""
    import cv2

    hues = (np.arange(count) * 180 / max(count, 1)).astype(np.uint8)
    values = np.where(np.arange(count) % 2, 150, 240).astype(np.uint8)
    hsv = np.stack([hues, np.full(count, 210, np.uint8), values], axis=-1)[None]
    return [tuple(colour) for colour in cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0].tolist()]
