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
from swinv2_dense.errors import UserError
from swinv2_dense.files import write_image
from swinv2_dense.progress import Progress, silent
from swinv2_dense.visualization.image_names import displayed, relative_name

__all__ = ["browse"]

_TALLEST = 900  # pixels; larger images are shown smaller
_ATTEMPTS = 10  # as a random crop without objects gives nothing to train on
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

    For configs of mmdet and mmseg, with their own visualizer. A detector's semantic maps are not painted.

    Args:
        folder: where ``NAME.jpg`` of every image ``NAME``, in its subfolder, goes.
        only: names of transforms; of the pipeline's, only these are applied after loading. Empty for all.

    Raises:
        UserError: a mistake in the config or the data, as in training; or ``only`` names what the pipeline lacks.
    """
    if cfg.get("default_scope") not in ("mmdet", "mmseg") or "train_dataloader" not in cfg:
        raise UserError("browsing needs a config of mmdet or mmseg (default_scope) with a train_dataloader")
    preflight.check(cfg, ("train",))
    init_default_scope(cfg.default_scope)
    data = next(dataset for _, dataset in leaf_datasets(cfg.train_dataloader.dataset, "train_dataloader.dataset"))
    loading = [step for step in data.pipeline if _name(step).startswith("Load")]
    known = [_name(step) for step in data.pipeline]
    if unknown := [name for name in only if name not in known]:
        raise UserError(f"--only {unknown[0]}: the training pipeline has {', '.join(known)}")
    chosen = [*loading, *(s for s in data.pipeline if _name(s) in only), data.pipeline[-1]] if only else data.pipeline
    before, after = Compose([*loading, data.pipeline[-1]]), Compose(chosen)
    dataset = DATASETS.build(data)
    visualizer = VISUALIZERS.build({**cfg.visualizer, "vis_backends": None, "name": "browse"})
    visualizer.dataset_meta = dataset.metainfo
    set_random_seed(seed)
    written = []
    for done, index in enumerate(np.unique(np.linspace(0, len(dataset) - 1, number).round().astype(int)), start=1):
        info = dataset.get_data_info(int(index))
        pair = [_draw(visualizer, pipeline, dataset, int(index)) for pipeline in (before, after)]
        written.append(_write(folder / relative_name(info["img_path"], dataset, ".jpg"), pair))
        progress("drawing", done, number)
    return written


def _name(step: Any) -> str:
    return step["type"].rsplit(".", 1)[-1]


def _draw(visualizer: Any, pipeline: Compose, dataset: Any, index: int) -> np.ndarray:
    """The annotated image (uint8, H x W x 3, BGR) that a pipeline gives; an empty one where it gives nothing."""
    data = next(filter(None, _attempts(pipeline, dataset, index)), None)
    if data is None:
        return np.full((64, 64, 3), 255, np.uint8)
    image = data["inputs"].permute(1, 2, 0).numpy()
    # Training gets BGR, the visualizer takes RGB; other bands than colours have no such order.
    image = displayed(image[..., ::-1] if image.shape[-1] == 3 else image)
    sample = data["data_samples"]
    if "gt_instances" in sample:  # mmdet's visualizer takes no boxes type, and has no names for stuff
        sample.gt_instances.bboxes = getattr(sample.gt_instances.bboxes, "tensor", sample.gt_instances.bboxes)
        sample.pop("gt_sem_seg", None)
    with warnings.catch_warnings():  # that polygons reach over the edge, which crops leave to later steps
        warnings.simplefilter("ignore", UserWarning)
        visualizer.add_datasample("image", image, sample, draw_gt=True, draw_pred=False)
    return visualizer.get_image()[..., ::-1]


def _attempts(pipeline: Compose, dataset: Any, index: int) -> Iterator[dict[str, Any] | None]:
    for _ in range(_ATTEMPTS):
        yield pipeline(dataset.get_data_info(index))


def _write(path: Path, images: Sequence[np.ndarray]) -> Path:
    """Write the images side by side."""
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
