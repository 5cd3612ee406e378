"""Train a detector, a segmenter or a classifier from a config, on the config's data or on your own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from swinv2_dense.cli import common as cli
from swinv2_dense.cli.parser import Parser, add_common_options, add_config
from swinv2_dense.cli.progress import bars
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.config_files import STRATEGIES
from swinv2_dense.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    examples = (
        "htc_swinv2_t --fast-dev-run",
        "htc_swinv2_t --work-dir work_dirs/htc --amp --cfg-options train_dataloader.batch_size=1",
        "htc_swinv2_t --work-dir work_dirs/htc --resume",
        "faster_rcnn_swinv2_t --data my_boxes/data.yaml --image-size 640 --batch auto",
    )
    parser = Parser("train", __doc__, examples)
    add_config(parser)
    parser.add_argument("--amp", action="store_true", help="train in mixed precision (without a GPU: the backbone)")
    parser.add_argument("--auto-scale-lr", action="store_true", help="scale the learning rate with the real batch size")
    parser.add_argument(
        "--tensorboard", action="store_true", help="write scalars for TensorBoard too: tensorboard WORK_DIR"
    )
    parser.add_argument(
        "--strategy",
        metavar="NAME",
        help="what the processes share (docs/large_models.md): "
        + ", ".join(sorted(p.stem for p in STRATEGIES.glob("*.py"))),
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="resume from CHECKPOINT, or from the latest one in the work dir",
    )
    start.add_argument(
        "--fast-dev-run",
        nargs="?",
        const=1,
        type=int,
        metavar="N",
        help="only train N iterations (default 1), validate and test N batches, to find mistakes; saves no weights",
    )
    _add_own_data(parser)
    add_common_options(parser)
    return parser.parse_args(argv)


def _add_own_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("own data (docs/own_data)")
    group.add_argument(
        "--data",
        type=Path,
        help="train on this instead of the config's data: a COCO .json, a YOLO data.yaml or a folder of VOC's; "
        "a folder of images and index maps; a folder of class folders of images or of clips",
    )
    group.add_argument("--image-size", type=int, metavar="PIXELS", help="short side in testing; training in proportion")
    group.add_argument("--epochs", type=int, metavar="N", help="how long to train")
    group.add_argument("--batch", type=_batch, metavar="N", help="images at a time, or auto: what the memory holds")
    group.add_argument("--images", type=Path, metavar="DIR", help="where the images of a COCO .json are")
    group.add_argument("--ignore", type=int, nargs="+", metavar="VALUE", help="of index maps, besides 255")
    group.add_argument("--split-seed", type=int, metavar="N", help="of the split into training and validation")


def _batch(text: str) -> int:
    """A number of images; 0 stands for auto."""
    if text == "auto":
        return 0
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 1 on nor auto")


def main(argv: Sequence[str] | None = None) -> None:
    _train(parse_args(argv))


@quiet_libraries()
def _train(args: argparse.Namespace) -> None:
    from swinv2_dense.checks.types import check_types
    from swinv2_dense.engine.runner import launch

    cfg = _config(args)
    check_types(cfg, "train")  # again, complete, in launch.train: what comes between reads the entries
    if args.strategy:
        launch.use_strategy(cfg, args.strategy, STRATEGIES)
        own = {key: value for key, value in (args.cfg_options or {}).items() if key.startswith("strategy.")}
        cli.merge_options(cfg, own)  # they are about the strategy named, which has just come in
    if args.amp:
        launch.use_amp(cfg)
    if args.tensorboard:
        launch.use_tensorboard(cfg)
    if args.auto_scale_lr:
        launch.scale_lr(cfg)
    if args.resume:
        launch.resume(cfg, args.resume)
    _warn_of_memory(cfg)
    launch.train(cfg, fast_dev_run=args.fast_dev_run)


def _config(args: argparse.Namespace) -> Config:
    """The config, with own data where they are given."""
    cfg = cli.load_config(args)
    options = {"image_size", "epochs", "batch", "images", "ignore", "split_seed"}
    if args.data is None:
        if given := sorted(name for name in options if getattr(args, name) is not None):
            raise UserError(f"--{given[0].replace('_', '-')} goes with --data: give both, or change the config")
        return cfg
    from swinv2_dense.engine.runner import launch
    from swinv2_dense.own_data import Choices, use_own_data

    choices = {name: getattr(args, name) for name in options - {"split_seed"}}

    def prepare() -> Config:
        with bars() as progress:
            prepared, said = use_own_data(cfg, args.data, Choices(**choices, seed=args.split_seed or 0), progress)
        print(*said, sep="\n", flush=True)
        return prepared

    return launch.once(cfg, prepare)


def _warn_of_memory(cfg: Config) -> None:
    """Ask the plan whether the memory will do, in the process that speaks for all."""
    from swinv2_dense.planning import fit

    if int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) != 0:
        return
    try:
        line = fit.warning(cfg)
    except Exception as error:  # any model trains, not only those that a plan can be made for
        line = f"whether the memory will do is not known, as no plan can be made ({type(error).__name__}: {error})"
    if line is not None:
        print(f"warning: {line}", file=sys.stderr)
