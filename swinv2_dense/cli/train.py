"""Train a detector, a segmenter or a video classifier from a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from swinv2_dense.cli import common as cli
from swinv2_dense.cli.config_files import STRATEGIES
from swinv2_dense.engine.runner import launch


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument("--amp", action="store_true", help="train in mixed precision (without a GPU: the backbone)")
    parser.add_argument("--auto-scale-lr", action="store_true", help="scale the learning rate with the real batch size")
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
        help="go on from CHECKPOINT, or from the latest one in the work dir",
    )
    start.add_argument(
        "--fast-dev-run",
        nargs="?",
        const=1,
        type=int,
        metavar="N",
        help="only train N iterations (default 1), validate and test N batches, to find mistakes; saves no weights",
    )
    cli.add_common_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    cfg = cli.load_config(args)
    if args.strategy:
        launch.use_strategy(cfg, args.strategy, STRATEGIES)
        own = {key: value for key, value in (args.cfg_options or {}).items() if key.startswith("strategy.")}
        cli.merge_options(cfg, own)  # they are about the strategy named, which has just come in
    if args.amp:
        launch.use_amp(cfg)
    if args.auto_scale_lr:
        launch.scale_lr(cfg)
    if args.resume:
        launch.resume(cfg, args.resume)
    launch.train(cfg, fast_dev_run=args.fast_dev_run)
