"""What SimMIM is worth in small: a classifier fine-tuned from it, with few and with all labels, and one from scratch.

A small SwinV2 is pre-trained at 64 x 64 pixels on images without labels, then fine-tuned, by the configs that come with
the package, made small. The pre-training is one and resumes; every fine-tuning (start, share of the labels, seed) is a
file and a run that is there is not run again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mmpretrain  # noqa: F401  without it nothing should even begin
import numpy as np
from mmengine.config import Config, ConfigDict

from swinv2_dense.checks.image_folders import class_folders, images_below
from swinv2_dense.config_files import find_config
from swinv2_dense.engine.runner import launch
from swinv2_dense.errors import UserError
from swinv2_dense.measure.runs import Run, cell, mean_and_spread, run_missing

__all__ = ["STARTS", "Data", "Protocol", "draw", "fine_tune", "pretrain", "run_all", "table"]

STARTS = ("scratch", "simmim")
_TITLES = {"scratch": "from scratch", "simmim": "after SimMIM"}
# Each start has the recipe that is its own: SimMIM's has layer decay 0.75.
_RECIPES = {"scratch": "imagenet/swinv2_b_w8_256", "simmim": "imagenet/swinv2_b_w14_224_simmim"}


@dataclass(frozen=True)
class Protocol:
    """What is trained and tested. ``side``, ``block`` (what is masked at a time) and ``norm_target``: pixels.

    Every fine-tuning has the same number of ``iterations``, whatever its share of the labels, so that one with few
    images sees each of them more often.
    """

    embed_dims: int = 32
    depths: tuple[int, ...] = (1, 1, 2, 1)
    side: int = 64
    block: int = 16
    norm_target: int = 15
    pretrain_epochs: int = 40
    pretrain_batch: int = 64
    pretrain_lr: float = 1e-3
    iterations: int = 1000
    batch: int = 32
    lr: float = 1e-3
    images: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        stride = 4 * 2 ** (len(self.depths) - 1)
        if self.side < stride or self.side % stride:
            raise UserError(f"--side {self.side}: give a multiple of {stride} pixels")

    def shrink(self, cfg: Config) -> None:
        """Make a config's model this one, and its loaders the process's own."""
        stages = len(self.depths)
        heads = tuple(max(1, self.embed_dims // 32) * 2**s for s in range(stages))
        windows = [max(1, min(self.side // 16, self.side // (4 * 2**s))) for s in range(stages)]
        arch = dict(embed_dims=self.embed_dims, depths=self.depths, num_heads=heads)
        cfg.model.backbone.update(arch=arch, window_size=windows, out_indices=(stages - 1,), drop_path_rate=0.0)
        for split in ("train", "val", "test"):
            if cfg.get(f"{split}_dataloader"):
                cfg[f"{split}_dataloader"].update(num_workers=0, persistent_workers=False)

    @property
    def channels(self) -> int:
        """Of the last map."""
        return self.embed_dims * 2 ** (len(self.depths) - 1)


@dataclass(frozen=True)
class Data:
    """A folder with train/ and val/, the names of their class folders, and how many images each has, in order."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[int, ...]
    val: tuple[int, ...]

    @classmethod
    def read(cls, root: Path) -> Data:
        """Count the images.

        Raises:
            UserError: a folder or its images are not there, or the classes of train and val differ.
        """
        counts = {}
        for split in ("train", "val"):
            names = class_folders(root / split, None).labels
            counts[split] = {name: len(list(images_below(root / split / name))) for name in sorted(names)}
            if empty := [name for name, count in counts[split].items() if not count]:
                raise UserError(f"{root / split / empty[0]} holds no images")
        if only := sorted(set(counts["train"]) ^ set(counts["val"])):
            raise UserError(f"{root}: train and val must have the same class folders; only one has {only[0]}")
        train, val = (tuple(counts[split].values()) for split in ("train", "val"))
        return cls(root, tuple(counts["train"]), train, val)

    def share(self, fraction: float, seed: int) -> list[int]:
        """Places of the images that keep their labels: of every class the same share, at least one."""
        rng, start, chosen = np.random.default_rng(seed), 0, []
        for count in self.train:
            some = rng.permutation(count)[: max(1, round(fraction * count))]
            chosen += sorted((start + some).tolist())
            start += count
        return chosen


def pretrain(protocol: Protocol, data: Data, folder: Path) -> dict[str, Any]:
    """Pre-train on the images of train/ without their labels, from the latest checkpoint there is; returns where the
    weights are, the loss over the iterations, and how long it took."""
    start = time.time()
    cfg = Config.fromfile(find_config("simmim/simmim_swinv2_b"))
    protocol.shrink(cfg)
    cfg.model.neck.update(in_channels=protocol.channels, encoder_stride=4 * 2 ** (len(protocol.depths) - 1))
    cfg.model.head.norm_target = protocol.norm_target
    cfg.train_dataloader.update(batch_size=min(protocol.pretrain_batch, sum(data.train)))
    cfg.train_dataloader.dataset.data_root = str(data.root / "train")
    _step(cfg.train_dataloader.dataset.pipeline, "RandomResizedCrop").scale = protocol.side
    _step(cfg.train_dataloader.dataset.pipeline, "swinv2_dense.BlockMask").mask_patch_size = protocol.block
    epochs = protocol.pretrain_epochs
    cfg.train_cfg.max_epochs = epochs
    cfg.optim_wrapper.optimizer.lr = protocol.pretrain_lr
    # the recipe's proportions: 10 epochs of warm-up of 800, and a tenth of the rate for the last eighth
    warmup, decay = cfg.param_scheduler
    warmup.end = max(1, epochs // 20)
    decay.update(milestones=[epochs * 7 // 8], end=epochs)
    cfg.default_hooks.checkpoint.interval = max(1, epochs // 6)
    iterations = epochs * (sum(data.train) // cfg.train_dataloader.batch_size)
    _run_in(cfg, folder, seed=0, iterations=iterations)
    if (folder / "last_checkpoint").is_file():
        launch.resume(cfg, "auto")
    launch.train(cfg)
    return {
        "checkpoint": str(folder / f"epoch_{epochs}.pth"),
        "losses": _losses(folder),
        "seconds": time.time() - start,
    }


def _losses(folder: Path) -> list[float]:
    """What the runs of a work dir logged, in the order of the iterations."""
    found: dict[int, float] = {}
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        entries = [json.loads(line) for line in path.read_text().splitlines()]
        found.update((entry["step"], entry["loss"]) for entry in entries if "loss" in entry)
    return [found[step] for step in sorted(found)]


def fine_tune(protocol: Protocol, start: str, share: float, seed: int, data: Data, weights: str, folder: Path) -> Run:
    """Fine-tune a classifier on a share of the labels and test it.

    Args:
        start: one of :data:`STARTS`.
        weights: those of the pre-training, not read from scratch.
    """
    begun = time.time()
    cfg = Config.fromfile(find_config(_RECIPES[start]))
    protocol.shrink(cfg)
    classes = len(data.classes)
    cfg.model.data_preprocessor.num_classes = classes
    cfg.model.head.update(num_classes=classes, in_channels=protocol.channels)
    cfg.model.train_cfg = None  # no Mixup or CutMix: the schedule is too short for them
    for split in ("train", "val", "test"):
        cfg[f"{split}_dataloader"].dataset.update(data_root=str(data.root), num_classes=classes)
    indices = data.share(share, seed)
    batch = min(protocol.batch, len(indices))
    cfg.train_dataloader.update(batch_size=batch, sampler=dict(type="InfiniteSampler", shuffle=True))
    cfg.train_dataloader.dataset.update(indices=indices, pipeline=_crops(protocol.side))
    for split in ("val", "test"):
        pipeline = cfg[f"{split}_dataloader"].dataset.pipeline
        _step(pipeline, "ResizeEdge").scale = protocol.side * 256 // 224
        _step(pipeline, "CenterCrop").crop_size = protocol.side
    cfg.val_evaluator = cfg.test_evaluator = dict(type="Accuracy", topk=(1,))
    steps = protocol.iterations
    cfg.train_cfg = ConfigDict(type="IterBasedTrainLoop", max_iters=steps, val_interval=steps + 1)
    cfg.optim_wrapper.optimizer.lr = protocol.lr
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=1e-3, by_epoch=False, begin=0, end=max(1, steps // 10)),
        dict(type="CosineAnnealingLR", eta_min_ratio=0.01, by_epoch=False, begin=max(1, steps // 10), end=steps),
    ]
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=steps, save_best=None, save_optimizer=False)
    cfg.log_processor.by_epoch = False
    cfg.load_from = weights if start == "simmim" else None
    _run_in(cfg, folder, seed, iterations=steps)
    launch.train(cfg)
    top1 = launch.evaluate(cfg, str(folder / f"iter_{steps}.pth"))["accuracy/top1"]
    losses = _losses(folder)[-5:]
    return {
        "start": start,
        "share": share,
        "labels": len(indices),
        "seed": seed,
        "top1": top1,
        "last_loss": sum(losses) / max(1, len(losses)),
        "seconds": time.time() - begun,
    }


def _run_in(cfg: Config, folder: Path, seed: int, iterations: int) -> None:
    """The run's folder and seed; the log stays in files of the folder, about a hundred times a loss."""
    cfg.default_hooks.logger.interval = max(1, iterations // 100)
    cfg.log_processor.window_size = cfg.default_hooks.logger.interval
    cfg.update(work_dir=str(folder), randomness=dict(seed=seed), launcher="none", log_level="WARNING")


def _step(pipeline: Sequence[ConfigDict], kind: str) -> ConfigDict:
    return next(step for step in pipeline if step["type"] == kind)


def _crops(side: int) -> list[dict[str, Any]]:
    return [
        dict(type="LoadImageFromFile"),
        dict(
            type="RandomResizedCrop",
            scale=side,
            crop_ratio_range=(0.35, 1.0),
            backend="pillow",
            interpolation="bicubic",
        ),
        dict(type="RandomFlip", prob=0.5),
        dict(type="PackInputs"),
    ]


def run_all(
    protocol: Protocol,
    shares: Sequence[float],
    seeds: Sequence[int],
    data: Data,
    out: Path,
    log: Callable[[str], None] = print,
) -> list[Run]:
    """The pre-training and every fine-tuning that is not there yet, one seed after another; the fine-tunings."""
    settings = asdict(protocol)
    before = {key: value for key, value in settings.items() if key not in ("iterations", "batch", "lr")}
    jobs = [("pretraining", partial(pretrain, protocol, data, out / "pretraining"))]
    (pretrained,) = run_missing(jobs, before, out / "runs")
    log(f"pre-trained: loss {pretrained['losses'][0]:.3f} to {pretrained['losses'][-1]:.3f}")

    def fine_tuned(name: str, start: str, share: float, seed: int) -> Run:
        found = fine_tune(protocol, start, share, seed, data, pretrained["checkpoint"], out / "fine_tuning" / name)
        log(f"{_TITLES[start]}, {share:.0%} of the labels, seed {seed}: {found['top1']:.1f}")
        return found

    names = {
        f"{start}_{share:g}_seed{seed}": (start, share, seed) for seed in seeds for share in shares for start in STARTS
    }
    fine_tunings = [(name, partial(fine_tuned, name, *what)) for name, what in names.items()]
    return run_missing(fine_tunings, settings, out / "runs")


def _top1(runs: Sequence[Mapping[str, Any]], start: str, share: float) -> dict[int, float]:
    return {r["seed"]: r["top1"] for r in runs if (r["start"], r["share"]) == (start, share)}


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: mean and sample standard deviation over the seeds, per share of the labels; and what SimMIM changes at
    the same seed."""
    lines = ["| labels | seeds | from scratch | after SimMIM | change |", "|---|---|---|---|---|"]
    for share in sorted({r["share"] for r in runs}):
        scratch, simmim = (_top1(runs, start, share) for start in STARTS)
        labels = next(r["labels"] for r in runs if r["share"] == share)
        both = sorted(scratch.keys() & simmim.keys())
        cells = [cell([*scratch.values()]), cell([*simmim.values()]), cell([simmim[s] - scratch[s] for s in both], "+")]
        lines.append(f"| {share:.0%} ({labels}) | {len(both)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(runs: Sequence[Mapping[str, Any]], losses: Sequence[float]) -> Any:
    """A matplotlib figure: the loss of the pre-training, and top-1 over the share of the labels, a point a seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(np.arange(1, len(losses) + 1) / len(losses), losses, color="0.3")
    left.set(title="SimMIM pre-training", xlabel="share of the iterations", ylabel="masked L1")
    shares = sorted({r["share"] for r in runs})
    for start, colour, shift in zip(STARTS, ("0.5", "tab:blue"), (-0.2, 0.2), strict=True):
        values = [[*_top1(runs, start, share).values()] for share in shares]
        places = [i + shift for i, v in enumerate(values) if v]
        means = [mean_and_spread(v) for v in values if v]
        bars = dict(width=0.36, color=colour, alpha=0.5, capsize=4, label=_TITLES[start])
        right.bar(places, [mean for mean, _ in means], yerr=[spread for _, spread in means], **bars)
        for place, points in zip(places, filter(None, values), strict=True):
            right.plot([place] * len(points), points, "o", color=colour, markersize=4)
    right.set(title="fine-tuned", xlabel="share of the labels", ylabel="top-1, per cent")
    right.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
    right.legend(loc="lower right")
    for axes in (left, right):
        axes.grid(axis="y", alpha=0.3)
    return figure
