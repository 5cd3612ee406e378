"""Video classification from nothing to results: clips, image pre-training, inflation, training, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.runner import Runner

from swinv2_dense.demo.console import Advance
from swinv2_dense.demo.drawings import draw_curves
from swinv2_dense.demo.motion_clips import MOTIONS, write_motion_clips
from swinv2_dense.demo.recorder import Recorder
from swinv2_dense.demo.shapes import CLASSES, draw_crop
from swinv2_dense.demo.steps import Demo
from swinv2_dense.models import VideoSwinTransformerV2
from swinv2_dense.visualization.clip_strips import Strip, draw_strips

__all__ = ["run"]

METRICS = {"top-1": "acc/top1"}
WANTED = 0.9  # what the demo promises
WINDOWS = [4, 4, 4, 2]  # of the image classifier, never wider than the map


@dataclass(frozen=True)
class Size:
    """How much of everything: clips of each class, iterations of the image and of the video classifier.

    ``video`` is None for what the config says.
    """

    train: int = 170
    val: int = 12
    image: int = 150
    video: int | None = None


QUICK = Size(train=4, val=1, image=2, video=2)


class _ClipRecorder(Recorder):
    """Keeps the middle frames of the first validated clip of each class, with what was predicted."""

    def __init__(self, metrics: dict[str, str], advance: Advance) -> None:
        super().__init__(metrics, advance)
        self.strips: dict[int, Strip] = {}

    def before_val_epoch(self, runner: Runner) -> None:
        self.strips.clear()

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        for views, sample in zip(data_batch["inputs"], outputs or (), strict=True):
            self.strips.setdefault(int(sample.gt_label), Strip.of(views.numpy(), sample, MOTIONS))


def run(config: Path, work_dir: Path, seed: int = 0, *, quick: bool = False) -> dict[str, float]:
    """Run the demo, reporting each step on the screen; returns top-1 on the held-out clips.

    Args:
        config: configs/demo/video_swinv2_demo.py.
        work_dir: gets video/, and in it data/, classifier.pth, run/ (checkpoint, log, config), pictures/ and
            demo.log.
        quick: a run of seconds that shows only that everything works; the score means nothing then.

    Raises:
        UserError: the score is below what the demo promises.
    """
    size = QUICK if quick else Size()
    demo = Demo(work_dir / "video", seed)
    console, classes = demo.console, len(MOTIONS)
    with console.step(f"Draw {classes * size.train} clips to train on and {classes * size.val} to test on"):
        # not before: mmaction2's import logs much, to the log file
        cfg = demo.configure(config, "run", size.video)
        write, clips = partial(write_motion_clips, train=size.train, val=size.val), classes * (size.train + size.val)
        demo.write_data(write, clips, "clips", f"{', '.join(MOTIONS)}; single frames look alike")

    with console.step(f"Pre-train a small SwinV2 on single images of shapes, window {WINDOWS[0]}"):
        demo.pretrain(cfg.model.backbone.arch, draw_crop, len(CLASSES), WINDOWS, size.image, "shapes")

    with console.step("Inflate it: the same weights, with a third axis"):
        backbone = {key: value for key, value in cfg.model.backbone.items() if key != "type"}
        demo.load(VideoSwinTransformerV2(**backbone))

    with console.step(f"Train a video classifier from it, {cfg.train_dataloader.batch_size} clips at a time"):
        _, recorder = demo.train(cfg, partial(_ClipRecorder, METRICS))

    with console.step("Draw what came out"):
        strips = [recorder.strips[label] for label in sorted(recorder.strips)]
        draw_strips(strips, demo.pictures / "predictions.png")
        title = "Video SwinV2 on drawn clips, from image weights"
        draw_curves(demo.pictures / "training.png", recorder.losses, recorder.scores, title=title)

    return demo.finish(recorder, WANTED, required=not quick)
