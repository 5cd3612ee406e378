"""Detection from nothing to results: data, pre-training, window transfer, HTC, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from pycocotools.coco import COCO

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.datasets import CLASSES, write_shapes_coco
from swinv2_dense.demo.biases import draw_learnt_biases
from swinv2_dense.demo.classifier import pretrain
from swinv2_dense.demo.pictures import Found, draw_curves, draw_predictions
from swinv2_dense.demo.recorder import Recorder
from swinv2_dense.demo.story import Story
from swinv2_dense.engine import launch
from swinv2_dense.models import SwinTransformerV2

__all__ = ["run"]

METRICS = {"box AP": "coco/bbox_mAP", "mask AP": "coco/segm_mAP"}
WANTED = 0.5  # of both; what the demo promises
# The classifier sees pictures of 64 pixels: 16, 8, 4 and 2 tokens wide, the window never wider than the map.
SIDE, WINDOWS = 64, [4, 4, 4, 2]
SHOWN_SCORE = 0.5  # predictions below are not drawn


@dataclass(frozen=True)
class Size:
    """How much of everything: pictures, and iterations of the classifier and of the detector (None: as configured)."""

    train: int = 300
    val: int = 50
    classifier: int = 400
    detector: int | None = None


QUICK = Size(train=8, val=4, classifier=2, detector=2)


def run(config: Path, work_dir: Path, seed: int = 0, *, quick: bool = False) -> dict[str, float]:
    """Run the demo, telling its story on the screen; returns box AP and mask AP on the held-out pictures.

    Args:
        config: configs/demo/htc_swinv2_demo.py.
        work_dir: gets data/, classifier.pth, htc/ (checkpoint, log, config), pictures/ and demo.log.
        quick: a run of seconds that shows only that everything works; the scores mean nothing then.

    Raises:
        UserError: the scores are below what the demo promises.
    """
    size = QUICK if quick else Size()
    data, classifier, pictures = work_dir / "data", work_dir / "classifier.pth", work_dir / "pictures"
    story = Story(work_dir / "demo.log", steps=5)
    cfg = _config(config, work_dir, size, seed)

    with story.step(f"Draw {size.train} pictures to train on and {size.val} to test on, in COCO's format"):
        with story.progress(size.train + size.val, "pictures") as advance:
            fresh = write_shapes_coco(
                data, train=size.train, val=size.val, seed=seed, progress=lambda done: advance(done, "")
            )
        story.say(f"{data}{'' if fresh else ' was there already'}: {', '.join(CLASSES)}, on textured ground")

    with story.step(f"Pre-train a small SwinV2 as a classifier, window {WINDOWS[0]}"):
        with story.progress(size.classifier, "iterations") as advance:
            model, accuracy = pretrain(
                classifier,
                cfg.model.backbone.arch,
                side=SIDE,
                window_size=WINDOWS,
                iterations=size.classifier,
                seed=seed,
                advance=advance,
            )
        story.say(f"{classifier}, in the layout of the authors' releases; it names {accuracy:.0%} of new shapes right")

    window = cfg.model.backbone.window_size
    with story.step(f"Transfer it to window {window}"):
        loaded = SwinTransformerV2(cfg.model.backbone.arch, window_size=window)
        story.say(str(load_pretrained(loaded, classifier)))

    with story.step(f"Train Hybrid Task Cascade from it, {cfg.train_dataloader.batch_size} pictures at a time"):
        with story.progress(cfg.train_cfg.max_iters, "iterations") as advance:
            recorder = Recorder(METRICS, advance)
            runner = launch.train(cfg, hooks=[recorder])
        story.say(f"{cfg.work_dir}: checkpoint, config and log")

    with story.step("Draw what came out"):
        _draw_predictions(pictures / "predictions.png", data, recorder)
        title = "HTC with a SwinV2 of window 8, pre-trained with window 4"
        draw_curves(pictures / "training.png", recorder.losses, recorder.scores, title=title)
        columns = {
            f"classifier, window {WINDOWS[0]}": model.backbone,
            f"loaded, window {window}": loaded,
            f"after HTC, window {window}": runner.model.backbone,
        }
        draw_learnt_biases(pictures / "position_biases.png", columns)

    scores = {name: points[-1][1] for name, points in recorder.scores.items()}
    story.finish_with(scores, WANTED, pictures, required=not quick)
    return scores


def _config(config: Path, work_dir: Path, size: Size, seed: int) -> Config:
    """The config, on the data and weights of this run."""
    cfg = Config.fromfile(config)
    root = f"{work_dir / 'data'}/"
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].dataset.data_root = root
    for split in ("val", "test"):
        cfg[f"{split}_evaluator"].ann_file = f"{root}annotations/instances_val2017.json"
    cfg.update(work_dir=str(work_dir / "htc"), load_from=str(work_dir / "classifier.pth"), launcher="none")
    cfg.randomness.seed = seed
    if size.detector is not None:
        cfg.train_cfg.update(max_iters=size.detector, val_interval=size.detector)
    return cfg


def _draw_predictions(path: Path, data: Path, recorder: Recorder, count: int = 8) -> None:
    coco = COCO(data / "annotations" / "instances_val2017.json")
    pictures, truth, predicted = [], [], []
    for image in coco.loadImgs(sorted(coco.imgs)[:count]):
        file = data / "val2017" / image["file_name"]
        pictures.append(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
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
    draw_predictions(path, pictures, truth, predicted, CLASSES)
