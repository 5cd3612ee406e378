"""Segmentation from nothing to results: data, pre-training, window transfer, UperNet, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mmseg  # noqa: F401  without it the demo should not even begin
from mmengine.config import Config
from mmengine.runner import Runner

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.datasets.shapes_ade20k import LABELS, write_shapes_ade20k
from swinv2_dense.demo.biases import draw_learnt_biases
from swinv2_dense.demo.classifier import pretrain
from swinv2_dense.demo.pictures import draw_curves
from swinv2_dense.demo.recorder import Recorder
from swinv2_dense.demo.story import Story
from swinv2_dense.engine import launch
from swinv2_dense.models import SwinTransformerV2
from swinv2_dense.visualization.class_maps import ClassMaps, draw_class_maps

__all__ = ["run"]

METRICS = {"mIoU": "mIoU"}
WANTED = 0.75  # what the demo promises
# The classifier sees pictures of 64 pixels: 16, 8, 4 and 2 tokens wide, the window never wider than the map.
SIDE, WINDOWS = 64, [8, 8, 4, 2]
SHOWN = 5  # pictures


@dataclass(frozen=True)
class Size:
    """How much of everything: pictures, and iterations of the classifier and of the segmenter (None: as configured)."""

    train: int = 600
    val: int = 50
    classifier: int = 250
    segmenter: int | None = None


QUICK = Size(train=8, val=SHOWN, classifier=2, segmenter=2)


class _Recorder(Recorder):
    """mmseg tells its metrics in percent."""

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        super().after_val_epoch(runner, {name: value / 100 for name, value in (metrics or {}).items()})


def run(config: Path, work_dir: Path, seed: int = 0, *, quick: bool = False) -> dict[str, float]:
    """Run the demo, telling its story on the screen; returns the mIoU on the held-out pictures.

    Args:
        config: configs/demo/upernet_swinv2_demo.py.
        work_dir: gets segmentation/, and in it data/, classifier.pth, upernet/ (checkpoint, log, config), pictures/ and
            demo.log.
        quick: a run of seconds that shows only that everything works; the score means nothing then.

    Raises:
        UserError: the score is below what the demo promises.
    """
    size = QUICK if quick else Size()
    folder = work_dir / "segmentation"
    data, classifier, pictures = folder / "data", folder / "classifier.pth", folder / "pictures"
    story = Story(folder / "demo.log", steps=5)
    cfg = _config(config, folder, size, seed)

    with story.step(f"Draw {size.train} pictures to train on and {size.val} to test on, in ADE20K's format"):
        with story.progress(size.train + size.val, "pictures") as advance:
            fresh = write_shapes_ade20k(
                data, train=size.train, val=size.val, seed=seed, progress=lambda done: advance(done, "")
            )
        story.say(f"{data}{'' if fresh else ' was there already'}: {', '.join(LABELS)}")

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

    with story.step(f"Train UperNet from it, {cfg.train_dataloader.batch_size} pictures at a time"):
        with story.progress(cfg.train_cfg.max_iters, "iterations") as advance:
            recorder = _Recorder(METRICS, advance)
            runner = launch.train(cfg, hooks=[recorder])
        story.say(f"{cfg.work_dir}: checkpoint, config and log")

    with story.step("Draw what came out"):
        dataset = cfg.val_dataloader.dataset
        shown = [ClassMaps.of(recorder.predictions[path]) for path in sorted(recorder.predictions)[:SHOWN]]
        draw_class_maps(shown, LABELS, dataset.metainfo.palette, pictures / "predictions.png")
        title = f"UperNet with a SwinV2 of window {window}, pre-trained with window {WINDOWS[0]}"
        draw_curves(pictures / "training.png", recorder.losses, recorder.scores, title=title)
        columns = {
            f"classifier, window {WINDOWS[0]}": model.backbone,
            f"loaded, window {window}": loaded,
            f"after UperNet, window {window}": runner.model.backbone,
        }
        draw_learnt_biases(pictures / "position_biases.png", columns)

    scores = {name: points[-1][1] for name, points in recorder.scores.items()}
    story.finish_with(scores, WANTED, pictures, required=not quick)
    return scores


def _config(config: Path, folder: Path, size: Size, seed: int) -> Config:
    """The config, on the data and weights of this run."""
    cfg = Config.fromfile(config)
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].dataset.data_root = f"{folder / 'data'}/"
    cfg.update(work_dir=str(folder / "upernet"), load_from=str(folder / "classifier.pth"), launcher="none")
    cfg.randomness.seed = seed
    if size.segmenter is not None:
        cfg.train_cfg.update(max_iters=size.segmenter, val_interval=size.segmenter)
    return cfg
