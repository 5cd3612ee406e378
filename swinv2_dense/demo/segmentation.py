"""Segmentation from nothing to results: data, pre-training, window transfer, UperNet, images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mmseg  # noqa: F401  without it the demo should not even begin
from mmengine.runner import Runner

from swinv2_dense.demo.drawings import draw_curves
from swinv2_dense.demo.landscapes import CLASSES, draw_close_up
from swinv2_dense.demo.landscapes_ade20k import write_landscapes_ade20k
from swinv2_dense.demo.recorder import Recorder
from swinv2_dense.demo.steps import Demo
from swinv2_dense.models import SwinTransformerV2
from swinv2_dense.visualization.class_maps import ClassMaps, draw_class_maps
from swinv2_dense.visualization.position_biases import draw_learnt_biases

__all__ = ["run"]

METRICS = {"mIoU": "mIoU"}
WANTED = 0.75  # what the demo promises
WINDOWS = [8, 8, 4, 2]  # of the classifier, never wider than the map
SHOWN = 5  # images


@dataclass(frozen=True)
class Size:
    """How much of everything: images, and iterations of the classifier and of the segmenter (None: as configured)."""

    train: int = 500
    val: int = 50
    classifier: int = 120
    segmenter: int | None = None


QUICK = Size(train=8, val=SHOWN, classifier=2, segmenter=2)


class _Recorder(Recorder):
    """mmseg reports its metrics in percent."""

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        super().after_val_epoch(runner, {name: value / 100 for name, value in (metrics or {}).items()})


def run(config: Path, work_dir: Path, seed: int = 0, *, quick: bool = False) -> dict[str, float]:
    """Run the demo, reporting each step on the screen; returns the mIoU on the held-out images.

    Args:
        config: configs/demo/upernet_swinv2_demo.py.
        work_dir: gets segmentation/, and in it data/, classifier.pth, upernet/ (checkpoint, log, config), pictures/ and
            demo.log.
        quick: a run of seconds that shows only that everything works; the score means nothing then.

    Raises:
        UserError: the score is below what the demo promises.
    """
    size = QUICK if quick else Size()
    demo = Demo(work_dir / "segmentation", seed)
    console, cfg = demo.console, demo.configure(config, "upernet", size.segmenter)

    with console.step(f"Draw {size.train} images to train on and {size.val} to test on, in ADE20K's format"):
        write = partial(write_landscapes_ade20k, train=size.train, val=size.val)
        demo.write_data(write, size.train + size.val, "images", f"landscapes with {', '.join(CLASSES)}")

    with console.step(f"Pre-train a small SwinV2 as a classifier, window {WINDOWS[0]}"):
        model = demo.pretrain(
            cfg.model.backbone.arch, draw_close_up, len(CLASSES), WINDOWS, size.classifier, "close-ups"
        )

    window = cfg.model.backbone.window_size
    with console.step(f"Transfer it to window {window}"):
        loaded = SwinTransformerV2(cfg.model.backbone.arch, window_size=window)
        demo.load(loaded)

    with console.step(f"Train UperNet from it, {cfg.train_dataloader.batch_size} images at a time"):
        runner, recorder = demo.train(cfg, partial(_Recorder, METRICS))

    with console.step("Draw what came out"):
        palette = cfg.val_dataloader.dataset.metainfo.palette
        shown = [ClassMaps.of(recorder.predictions[path]) for path in sorted(recorder.predictions)[:SHOWN]]
        draw_class_maps(shown, CLASSES, palette, demo.pictures / "predictions.png")
        title = f"UperNet with a SwinV2 of window {window}, pre-trained with window {WINDOWS[0]}"
        draw_curves(demo.pictures / "training.png", recorder.losses, recorder.scores, title=title)
        columns = {
            f"classifier, window {WINDOWS[0]}": model.backbone,
            f"loaded, window {window}": loaded,
            f"after UperNet, window {window}": runner.model.backbone,
        }
        draw_learnt_biases(demo.pictures / "position_biases.png", columns)

    return demo.finish(recorder, WANTED, required=not quick)
