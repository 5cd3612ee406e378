"""Train a detector, a segmenter or a video classifier from a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from swinv2_dense.cli import common as cli
from swinv2_dense.cli.parser import Parser, add_common_options, add_config
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.config_files import STRATEGIES


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    examples = (
        "htc_swinv2_t --fast-dev-run",
        "htc_swinv2_t --work-dir work_dirs/htc --amp --cfg-options train_dataloader.batch_size=1",
        "htc_swinv2_t --work-dir work_dirs/htc --resume",
    )
    parser = Parser("train", __doc__, examples)
    add_config(parser)
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
    add_common_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    _train(parse_args(argv))


@quiet_libraries()
def _train(args: argparse.Namespace) -> None:
    from swinv2_dense.engine.runner import launch

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
