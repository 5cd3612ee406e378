"""Classification from nothing to results: data, training, another window and size by the config alone, images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mmpretrain  # noqa: F401  without it the demo should not even begin
from matplotlib.figure import Figure
from mmengine.runner import Runner
from PIL import Image

from swinv2_dense.demo.close_ups import write_close_ups
from swinv2_dense.demo.drawings import draw_curves
from swinv2_dense.demo.recorder import Recorder
from swinv2_dense.demo.steps import Demo
from swinv2_dense.engine.runner import launch
from swinv2_dense.files import write_figure
from swinv2_dense.models import SwinTransformerV2
from swinv2_dense.visualization.position_biases import draw_learnt_biases

__all__ = ["draw_classified", "run"]

WANTED = 0.8  # what the demo promises, at both windows
SIDE, WINDOWS = 96, [6, 6, 6, 3]  # of the second test: 3/2 of what was trained with
SHOWN = 15  # images


@dataclass(frozen=True)
class Size:
    """How much of everything: images, and iterations (None: as configured)."""

    train: int = 1200
    val: int = 200
    iterations: int | None = None


QUICK = Size(train=80, val=60, iterations=2)


class _Recorder(Recorder):
    """mmpretrain reports its metrics in percent."""

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        super().after_val_epoch(runner, {name: value / 100 for name, value in (metrics or {}).items()})


def run(config: Path, work_dir: Path, seed: int = 0, *, quick: bool = False) -> dict[str, float]:
    """Run the demo, reporting each step on the screen; returns top-1 on the held-out images at both windows.

    Args:
        config: configs/demo/classifier_swinv2_demo.py.
        work_dir: gets classification/, and in it data/, classifier/ (checkpoint, log, config), another_window/,
            pictures/ and demo.log.
        quick: a run of seconds that shows only that everything works; the scores mean nothing then.

    Raises:
        UserError: a score is below what the demo promises.
    """
    size = QUICK if quick else Size()
    demo = Demo(work_dir / "classification", seed, steps=4)
    console, cfg = demo.console, demo.configure(config, "classifier", size.iterations)
    cfg.load_from = None
    classes, trained = cfg.classes, cfg.model.backbone.window_size[0]

    with console.step(f"Draw {size.train} images to train on and {size.val} to test on, in class folders"):
        write = partial(write_close_ups, train=size.train, val=size.val)
        demo.write_data(write, size.train + size.val, "images", f"{', '.join(classes)}")

    with console.step(f"Train a small SwinV2 from scratch at 64 pixels, window {trained}"):
        runner, recorder = demo.train(cfg, partial(_Recorder, {f"top-1, window {trained}": "accuracy/top1"}))

    with console.step(f"Test the same weights at {SIDE} pixels, window {WINDOWS[0]}, without training"):
        checkpoint = str(Path(cfg.work_dir, f"iter_{cfg.train_cfg.max_iters}.pth"))
        cfg.model.backbone.window_size = WINDOWS
        for step in cfg.test_dataloader.dataset.pipeline:
            if step.type == "Resize":
                step.scale = (SIDE, SIDE)
        cfg.work_dir = str(demo.folder / "another_window")
        found = launch.evaluate(cfg, checkpoint)["accuracy/top1"] / 100

    with console.step("Draw what came out"):
        predictions = {path: recorder.predictions[path] for path in sorted(recorder.predictions)}
        step = max(1, len(predictions) // SHOWN)
        draw_classified(demo.pictures / "predictions.png", list(predictions.items())[::step][:SHOWN], classes)
        title = f"A classifier with a SwinV2 of window {trained}"
        draw_curves(demo.pictures / "training.png", recorder.losses, recorder.scores, title=title)
        larger = SwinTransformerV2(cfg.model.backbone.arch, window_size=WINDOWS, out_indices=(3,))
        larger.load_state_dict(runner.model.backbone.state_dict())
        columns = {f"trained, window {trained}": runner.model.backbone, f"tested, window {WINDOWS[0]}": larger}
        draw_learnt_biases(demo.pictures / "position_biases.png", columns)

    recorder.scores[f"top-1, window {WINDOWS[0]}"] = [(len(recorder.losses), found)]
    return demo.finish(recorder, WANTED, required=not quick)


def draw_classified(path: Path, samples: Sequence[tuple[str, Any]], classes: Sequence[str], columns: int = 5) -> None:
    """A grid of images, each with what was predicted and how sure, red where that is wrong.

    Args:
        samples: path of an image and mmpretrain's data sample.
        classes: names, by label.
    """
    rows = -(-len(samples) // columns)
    figure = Figure(figsize=(1.9 * columns, 2.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for axis in axes:
        axis.axis("off")
    for axis, (place, sample) in zip(figure.axes, samples, strict=False):
        label, truth = int(sample.pred_label), int(sample.gt_label)
        axis.imshow(Image.open(place))
        text = f"{classes[label]} {float(sample.pred_score[label]):.2f}"
        axis.set_title(
            text if label == truth else f"{text}\nis {classes[truth]}",
            fontsize=9,
            color="0.3" if label == truth else "tab:red",
        )
    write_figure(path, figure, dpi=110)
