"""Video classification from nothing to results: clips, image pre-training, inflation, training, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.datasets.video_motion import MOTIONS, write_motion_clips
from swinv2_dense.demo.classifier import pretrain
from swinv2_dense.demo.pictures import draw_curves
from swinv2_dense.demo.recorder import Recorder
from swinv2_dense.demo.story import Advance, Story
from swinv2_dense.engine import launch
from swinv2_dense.models import VideoSwinTransformerV2
from swinv2_dense.visualization.clip_strips import Strip, draw_strips

__all__ = ["run"]

METRICS = {"top-1": "acc/top1"}
WANTED = 0.9  # what the demo promises
# The image classifier sees pictures of 64 pixels: 16, 8, 4 and 2 tokens wide, the window never wider than the map.
SIDE, WINDOWS = 64, [4, 4, 4, 2]


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
    """Run the demo, telling its story on the screen; returns top-1 on the held-out clips.

    Args:
        config: configs/demo/video_swinv2_demo.py.
        work_dir: gets video/, and in it data/, image_classifier.pth, run/ (checkpoint, log, config), pictures/ and
            demo.log.
        quick: a run of seconds that shows only that everything works; the score means nothing then.

    Raises:
        UserError: the score is below what the demo promises.
    """
    size = QUICK if quick else Size()
    folder = work_dir / "video"
    data, classifier, pictures = folder / "data", folder / "image_classifier.pth", folder / "pictures"
    story = Story(folder / "demo.log", steps=5)
    clips = len(MOTIONS) * (size.train + size.val)
    with story.step(f"Draw {len(MOTIONS) * size.train} clips to train on and {len(MOTIONS) * size.val} to test on"):
        cfg = _config(config, folder, size, seed)  # not before: mmaction2's import has much to tell, to the log file
        with story.progress(clips, "clips") as advance:
            fresh = write_motion_clips(
                data, train=size.train, val=size.val, seed=seed, progress=lambda done: advance(done, "")
            )
        story.say(f"{data}{'' if fresh else ' was there already'}: {', '.join(MOTIONS)}; single frames look alike")

    with story.step(f"Pre-train a small SwinV2 on single pictures of shapes, window {WINDOWS[0]}"):
        with story.progress(size.image, "iterations") as advance:
            _, accuracy = pretrain(
                classifier,
                cfg.model.backbone.arch,
                side=SIDE,
                window_size=WINDOWS,
                iterations=size.image,
                seed=seed,
                advance=advance,
            )
        story.say(f"{classifier}, in the layout of the authors' releases; it names {accuracy:.0%} of new shapes right")

    with story.step("Inflate it: the same weights, with a third axis"):
        backbone = {key: value for key, value in cfg.model.backbone.items() if key != "type"}
        story.say(str(load_pretrained(VideoSwinTransformerV2(**backbone), classifier)))

    with story.step(f"Train a video classifier from it, {cfg.train_dataloader.batch_size} clips at a time"):
        with story.progress(cfg.train_cfg.max_iters, "iterations") as advance:
            recorder = _ClipRecorder(METRICS, advance)
            launch.train(cfg, hooks=[recorder])
        story.say(f"{cfg.work_dir}: checkpoint, config and log")

    with story.step("Draw what came out"):
        draw_strips([recorder.strips[label] for label in sorted(recorder.strips)], pictures / "predictions.png")
        title = "Video SwinV2 on drawn clips, from image weights"
        draw_curves(pictures / "training.png", recorder.losses, recorder.scores, title=title)

    scores = {name: points[-1][1] for name, points in recorder.scores.items()}
    story.finish_with(scores, WANTED, pictures, required=not quick)
    return scores


def _config(config: Path, folder: Path, size: Size, seed: int) -> Config:
    """The config, on the data and weights of this run."""
    cfg = Config.fromfile(config)
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].dataset.data_root = f"{folder / 'data'}/"
    cfg.update(work_dir=str(folder / "run"), load_from=str(folder / "image_classifier.pth"), launcher="none")
    cfg.randomness.seed = seed
    if size.video is not None:
        cfg.train_cfg.update(max_iters=size.video, val_interval=size.video)
    return cfg
