"""The steps that the demos of all tasks have in common, each reported on the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mmengine.config import Config
from mmengine.runner import Runner
from torch import nn

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.demo.classifier import Classifier, Draw, pretrain
from swinv2_dense.demo.console import Advance, DemoConsole
from swinv2_dense.demo.recorder import Recorder
from swinv2_dense.engine.runner import launch

__all__ = ["Demo"]

_SIDE = 64  # pixels, of what the classifier sees: 16, 8, 4 and 2 tokens wide in the four stages

_R = TypeVar("_R", bound=Recorder)


class Demo:
    """A demo of some steps in ``folder``: data/, classifier.pth, pictures/, demo.log, the training run's folder.

    Args:
        seed: of the images and of the training.
    """

    def __init__(self, folder: Path, seed: int, steps: int = 5) -> None:
        self.seed = seed
        self.data, self.classifier, self.pictures = folder / "data", folder / "classifier.pth", folder / "pictures"
        self.folder, self.console = folder, DemoConsole(folder / "demo.log", steps=steps)

    def configure(self, config: Path, run: str, iterations: int | None) -> Config:
        """The config on this demo's data and weights, for a training run in the folder ``run``.

        Args:
            iterations: instead of what the config says.
        """
        cfg = Config.fromfile(config)
        for split in ("train", "val", "test"):
            cfg[f"{split}_dataloader"].dataset.data_root = f"{self.data}/"
        cfg.update(work_dir=str(self.folder / run), load_from=str(self.classifier), launcher="none")
        cfg.randomness.seed = self.seed
        if iterations is not None:
            cfg.train_cfg.update(max_iters=iterations, val_interval=iterations)
        return cfg

    def write_data(self, write: Callable[..., bool], total: int, unit: str, description: str) -> None:
        """Have the data written unless they are there.

        Args:
            write: as :func:`~swinv2_dense.datasets.write_shapes_coco`; called with folder, seed and progress.
            total: how many of ``unit`` it writes.
            description: of the data, for the screen.
        """
        with self.console.progress(total, unit) as advance:
            fresh = write(self.data, seed=self.seed, progress=lambda step, done, total: advance(done, ""))
        self.console.say(f"{self.data}{'' if fresh else ' was there already'}: {description}")

    def pretrain(
        self, arch: Mapping[str, Any], draw: Draw, classes: int, window_size: list[int], iterations: int, named: str
    ) -> Classifier:
        """Train the image classifier. ``named``: what it is to name, on the screen."""
        with self.console.progress(iterations, "iterations") as advance:
            model, accuracy = pretrain(
                self.classifier,
                arch,
                draw,
                classes=classes,
                side=_SIDE,
                window_size=window_size,
                iterations=iterations,
                seed=self.seed,
                advance=advance,
            )
        self.console.say(
            f"{self.classifier}, in the layout of the authors' releases; it names {accuracy:.0%} of new {named} right"
        )
        return model

    def load(self, backbone: nn.Module) -> None:
        """Load the classifier's weights and show the report."""
        self.console.say(str(load_pretrained(backbone, self.classifier)))

    def train(self, cfg: Config, record: Callable[[Advance], _R]) -> tuple[Runner, _R]:
        """Train by the function that swinv2 train calls. ``record`` makes the recorder from the progress bar."""
        with self.console.progress(cfg.train_cfg.max_iters, "iterations") as advance:
            recorder = record(advance)
            runner = launch.train(cfg, hooks=[recorder])
        self.console.say(f"{cfg.work_dir}: checkpoint, config and log")
        return runner, recorder

    def finish(self, recorder: Recorder, wanted: float, *, required: bool) -> dict[str, float]:
        """Show and return the last validation's scores.

        Raises:
            UserError: a score is below ``wanted``, and that is ``required``.
        """
        scores = {name: points[-1][1] for name, points in recorder.scores.items()}
        self.console.finish_with(scores, wanted, self.pictures, required=required)
        return scores
