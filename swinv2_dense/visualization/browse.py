"""Images of what a training pipeline makes of the data: as loaded, and beside it as trained on."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import DATASETS, VISUALIZERS, init_default_scope
from mmengine.runner import set_random_seed

from swinv2_dense.checks import config as preflight
from swinv2_dense.checks.dataset import leaf_datasets
from swinv2_dense.checks.types import check_types
from swinv2_dense.engine.runner.checked_images import insert_checks
from swinv2_dense.errors import UserError
from swinv2_dense.files import write_image
from swinv2_dense.inference.model_loading import TASKS
from swinv2_dense.inference.results import Classification, Result, SegmentationMap
from swinv2_dense.progress import Progress, silent
from swinv2_dense.visualization.image_names import displayed, relative_name

__all__ = ["browse"]

_LOADING_CLIPS = ("OpenClip", "SampleFrames", "DecodeClip")
_TALLEST = 900  # pixels; larger images are shown smaller
_ATTEMPTS = 10  # as a random crop without objects gives nothing to train on
_STRIP = 1600  # pixels: width of a strip of frames
_FRAMES = 8  # of a clip in a strip
_SEEDS = 2**32
_NO_CLASS = 255  # of index maps: pixels that are not trained on
_GAP = 8  # white pixels between the two images


def browse(
    cfg: Config,
    folder: Path,
    number: int,
    *,
    only: Sequence[str] = (),
    seed: int = 0,
    progress: Progress = silent,
) -> list[Path]:
    """Write before-and-after images of ``number`` training samples, evenly spread over the data.

    Objects by the config's visualizer, or mmdet's; maps with a legend; images and clips of a class with its name, of a
    clip eight frames. A detector's semantic maps are not painted.

    Args:
        folder: where ``NAME.jpg`` of every image ``NAME``, in its subfolder, goes; of several data sets below 0, 1 ...
        only: names of transforms; of the pipeline's, only these are applied after loading. Empty for all.

    Raises:
        UserError: a mistake in the config or the data, as in training; or ``only`` names what the pipeline lacks.
    """
    if cfg.get("default_scope") not in TASKS:
        raise UserError(f"browsing needs default_scope to be one of {', '.join(TASKS)}")
    if not 0 <= seed < _SEEDS:
        raise UserError(f"--seed {seed}: give a number from 0 to {_SEEDS - 1}")
    check_types(cfg, "browse")
    preflight.check(cfg, ("train",))
    init_default_scope(cfg.default_scope)
    _refuse_mixing(cfg.train_dataloader.dataset, "train_dataloader.dataset")
    datasets = [data for _, data in leaf_datasets(cfg.train_dataloader.dataset, "train_dataloader.dataset")]
    known = list(dict.fromkeys(_name(step) for data in datasets for step in data.pipeline))
    if unknown := [name for name in only if name not in known]:
        raise UserError(f"--only {unknown[0]}: the training pipeline has {', '.join(known)}")
    parts = [(DATASETS.build(data), *_before_and_after(cfg, data.pipeline, only)) for data in datasets]
    visualizer = None
    if cfg.default_scope == "mmdet":
        drawing = cfg.get("visualizer") or {"type": "DetLocalVisualizer"}
        visualizer = VISUALIZERS.build({**drawing, "vis_backends": None, "name": "browse"})
    ends = np.cumsum([len(dataset) for dataset, *_ in parts])
    written = []
    for done, place in enumerate(np.unique(np.linspace(0, ends[-1] - 1, number).round().astype(int)), start=1):
        part = int(np.searchsorted(ends, place, side="right"))
        dataset, *pipelines = parts[part]
        index = int(place - ends[part] + len(dataset))
        if visualizer is not None:
            visualizer.dataset_meta = dataset.metainfo
        pair = []
        for pipeline in pipelines:
            set_random_seed((seed + int(place)) % _SEEDS)  # anew: of a clip both have the same frames
            pair.append(_draw(visualizer, pipeline, dataset, index))
        info = dataset.get_data_info(index)
        path = info["img_path"] if "img_path" in info else info["filename"]
        below = folder / str(part) if len(parts) > 1 else folder  # names are those of one data set
        written.append(
            _write(below / relative_name(path, dataset, ".jpg"), pair, stacked=cfg.default_scope == "mmaction")
        )
        progress("drawing", done, number)
    return written


def _refuse_mixing(dataset: Any, key: str) -> None:
    """What is made of several images has no image that it was before."""
    parts = dataset.get("datasets") or ([dataset["dataset"]] if "dataset" in dataset else [])
    if parts and dataset.get("pipeline"):
        raise UserError(
            f"{key} ({dataset.get('type')}) has a pipeline of its own, behind those of its data sets, which browsing "
            "cannot show: browse without this wrapper"
        )
    for part in parts:
        _refuse_mixing(part, f"{key}.dataset")


def _before_and_after(cfg: Config, steps: Sequence[Any], only: Sequence[str]) -> list[Compose]:
    loading = [step for step in steps if _name(step).startswith("Load") or _name(step) in _LOADING_CLIPS]
    packing = [step for step in steps if _name(step) == "FormatShape"] + [steps[-1]]
    named = [step for step in steps if _name(step) in only and step not in loading and step not in packing]
    pipelines = [Compose([*loading, *packing]), Compose([*loading, *named, *packing] if only else steps)]
    for pipeline in pipelines:
        insert_checks(pipeline.transforms, cfg)
    return pipelines


def _name(step: Any) -> str:
    return step["type"].rsplit(".", 1)[-1]


def _draw(visualizer: Any, pipeline: Compose, dataset: Any, index: int) -> np.ndarray:
    """The annotated image (uint8, H x W x 3, BGR) that a pipeline gives; an empty one where it gives nothing."""
    data = next(filter(None, _attempts(pipeline, dataset, index)), None)
    if data is None:
        return np.full((64, 64, 3), 255, np.uint8)
    sample = data["data_samples"]
    if visualizer is None and "gt_sem_seg" not in sample:
        return _draw_class(data, dataset.metainfo)
    image = data["inputs"].permute(1, 2, 0).numpy()
    # Training gets BGR, which is drawn as RGB; bands that tifffile decoded are in the file's order.
    image = displayed(image[..., ::-1] if image.shape[-1] == 3 and not _in_order(pipeline) else image)
    if visualizer is None:
        return _draw_map(image[..., ::-1], sample.gt_sem_seg.data[0].numpy(), dataset.metainfo)
    if "gt_instances" in sample:  # mmdet's visualizer takes no boxes type, and has no names for stuff
        sample.gt_instances.bboxes = getattr(sample.gt_instances.bboxes, "tensor", sample.gt_instances.bboxes)
        sample.pop("gt_sem_seg", None)
    with warnings.catch_warnings():  # that polygons reach over the edge, which crops leave to later steps
        warnings.simplefilter("ignore", UserWarning)
        visualizer.add_datasample("image", image, sample, draw_gt=True, draw_pred=False)
    return visualizer.get_image()[..., ::-1]


def _in_order(pipeline: Compose) -> bool:
    return any(getattr(step, "imdecode_backend", "") == "tifffile" for step in pipeline.transforms)


def _draw_map(image: np.ndarray, labels: np.ndarray, meta: dict[str, Any]) -> np.ndarray:
    """Class indices (H x W; 255: none) over an image (BGR), made as small as it is shown: words stay readable."""
    image = Result(np.ascontiguousarray(image)).shrunk(_TALLEST).image
    labels = cv2.resize(labels.astype(np.uint8), (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
    about = {"classes": meta.get("classes") or (), "palette": meta.get("palette") or ()}
    return SegmentationMap.of(labels, range(_NO_CLASS), image=image, **about).plot()


def _draw_class(data: dict[str, Any], meta: dict[str, Any]) -> np.ndarray:
    """An image (C x H x W, BGR) or a clip (views x C x T x H x W, RGB) with the name of its class, made as small as it
    is shown first."""
    inputs, label = data["inputs"].numpy(), data["data_samples"].get("gt_label")
    image = inputs[0].transpose(1, 2, 3, 0)[..., ::-1] if inputs.ndim == 5 else inputs.transpose(1, 2, 0)
    image = np.ascontiguousarray(image.astype(np.uint8))
    if image.ndim == 4:
        count, height, width = min(_FRAMES, len(image)), *image.shape[1:3]
        size = (_STRIP // max(count, 4), max(1, round(height * _STRIP / max(count, 4) / width)))
        image = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in image])
    labels = np.zeros(0, np.int64) if label is None else label.numpy().reshape(-1)
    return Classification(image, classes=meta.get("classes") or (), labels=labels).shrunk(_TALLEST).plot()


def _attempts(pipeline: Compose, dataset: Any, index: int) -> Iterator[dict[str, Any] | None]:
    for _ in range(_ATTEMPTS):
        yield pipeline(dataset.get_data_info(index))


def _write(path: Path, images: Sequence[np.ndarray], stacked: bool = False) -> Path:
    """Write the images side by side; if ``stacked``, strips of frames one above the other."""
    if stacked and images[0].shape[1] > 3 * images[0].shape[0]:
        heights = [round(image.shape[0] * _STRIP / image.shape[1]) for image in images]
        strips = [cv2.resize(image, (_STRIP, height)) for image, height in zip(images, heights, strict=True)]
        gap = np.full((_GAP, _STRIP, 3), 255, np.uint8)
        write_image(path, np.concatenate([strips[0], gap, strips[1]]))
        return path
    shrunk = []
    for image in images:
        factor = min(1.0, _TALLEST / max(image.shape[:2]))
        shrunk.append(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    height, width = max(p.shape[0] for p in shrunk), sum(p.shape[1] + _GAP for p in shrunk) - _GAP
    sheet, left = np.full((height, width, 3), 255, np.uint8), 0
    for image in shrunk:
        sheet[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + _GAP
    write_image(path, sheet)
    return path
