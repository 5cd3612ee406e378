"""Detection from nothing to results: data, pre-training, window transfer, HTC, images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from pycocotools.coco import COCO

from swinv2_dense.demo.drawings import Found, draw_curves, draw_predictions
from swinv2_dense.demo.recorder import Recorder
from swinv2_dense.demo.shapes import CLASSES, draw_crop
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.demo.steps import Demo
from swinv2_dense.models import SwinTransformerV2
from swinv2_dense.visualization.position_biases import draw_learnt_biases

__all__ = ["run"]

METRICS = {"box AP": "coco/bbox_mAP", "mask AP": "coco/segm_mAP"}
WANTED = 0.5  # of both; what the demo promises
WINDOWS = [4, 4, 4, 2]  # of the classifier, never wider than the map
SHOWN_SCORE = 0.5  # predictions below are not drawn


@dataclass(frozen=True)
class Size:
    """How much of everything: images, and iterations of the classifier and of the detector (None: as configured)."""

    train: int = 300
    val: int = 50
    classifier: int = 400
    detector: int | None = None


QUICK = Size(train=8, val=4, classifier=2, detector=2)


def run(config: Path, work_dir: Path, seed: int = 0, *, quick: bool = False) -> dict[str, float]:
    """Run the demo, reporting each step on the screen; returns box AP and mask AP on the held-out images.

    Args:
        config: configs/demo/htc_swinv2_demo.py.
        work_dir: gets data/, classifier.pth, htc/ (checkpoint, log, config), pictures/ and demo.log.
        quick: a run of seconds that shows only that everything works; the scores mean nothing then.

    Raises:
        UserError: the scores are below what the demo promises.
    """
    size = QUICK if quick else Size()
    demo = Demo(work_dir, seed)
    console, cfg = demo.console, demo.configure(config, "htc", size.detector)
    for split in ("val", "test"):
        cfg[f"{split}_evaluator"].ann_file = f"{demo.data}/annotations/instances_val2017.json"

    with console.step(f"Draw {size.train} images to train on and {size.val} to test on, in COCO's format"):
        write = partial(write_shapes_coco, train=size.train, val=size.val)
        demo.write_data(write, size.train + size.val, "images", f"{', '.join(CLASSES)}, on textured ground")

    with console.step(f"Pre-train a small SwinV2 as a classifier, window {WINDOWS[0]}"):
        model = demo.pretrain(cfg.model.backbone.arch, draw_crop, len(CLASSES), WINDOWS, size.classifier, "shapes")

    window = cfg.model.backbone.window_size
    with console.step(f"Transfer it to window {window}"):
        loaded = SwinTransformerV2(cfg.model.backbone.arch, window_size=window)
        demo.load(loaded)

    with console.step(f"Train Hybrid Task Cascade from it, {cfg.train_dataloader.batch_size} images at a time"):
        runner, recorder = demo.train(cfg, partial(Recorder, METRICS))

    with console.step("Draw what came out"):
        _draw_predictions(demo.pictures / "predictions.png", demo.data, recorder)
        title = "HTC with a SwinV2 of window 8, pre-trained with window 4"
        draw_curves(demo.pictures / "training.png", recorder.losses, recorder.scores, title=title)
        columns = {
            f"classifier, window {WINDOWS[0]}": model.backbone,
            f"loaded, window {window}": loaded,
            f"after HTC, window {window}": runner.model.backbone,
        }
        draw_learnt_biases(demo.pictures / "position_biases.png", columns)

    return demo.finish(recorder, WANTED, required=not quick)


def _draw_predictions(path: Path, data: Path, recorder: Recorder, count: int = 8) -> None:
    coco = COCO(data / "annotations" / "instances_val2017.json")
    images, truth, predicted = [], [], []
    for image in coco.loadImgs(sorted(coco.imgs)[:count]):
        file = data / "val2017" / image["file_name"]
        images.append(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        truth.append(
            [Found(coco.annToMask(a).astype(bool), a["category_id"] - 1, crowd=bool(a["iscrowd"])) for a in annotations]
        )
        instances = recorder.predictions[str(file)].pred_instances.cpu().numpy()
        predicted.append(
            [
                Found(np.asarray(mask, bool), int(label), float(score))
                for mask, label, score in zip(instances.masks, instances.labels, instances.scores, strict=True)
                if score >= SHOWN_SCORE
            ]
        )
    draw_predictions(path, images, truth, predicted, CLASSES)
