"""Evaluate trained weights on the test data of a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from swinv2_dense.cli import common as cli
from swinv2_dense.cli.parser import Parser, add_common_options, add_config, add_dtype
from swinv2_dense.compat.quiet import quiet_libraries


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    examples = (
        "htc_swinv2_t work_dirs/htc/epoch_36.pth --out predictions.pkl",
        "htc_swinv2_t work_dirs/htc/epoch_36.pth --tta --cfg-options model.backbone.window_size=48",
    )
    parser = Parser("test", __doc__, examples)
    add_config(parser)
    parser.add_argument("checkpoint", help="weights that swinv2 train saved, or a run's folder for its best ones")
    parser.add_argument("--out", metavar="FILE.pkl", help="write all predictions to this file")
    parser.add_argument(
        "--format-only",
        metavar="PREFIX",
        help="instead of scores write COCO's result files, PREFIX.bbox.json and PREFIX.segm.json, for its test server",
    )
    parser.add_argument("--show", action="store_true", help="show every prediction in a window")
    parser.add_argument("--show-dir", help="write every prediction, drawn on its image, to this folder")
    parser.add_argument("--wait-time", type=float, default=2, help="seconds that --show shows a prediction")
    parser.add_argument(
        "--tta",
        action="store_true",
        help="test-time augmentation, by the config's tta_model; by mirror images where it has none",
    )
    add_dtype(parser)
    add_common_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    _test(parse_args(argv))


@quiet_libraries()
def _test(args: argparse.Namespace) -> None:
    from swinv2_dense.engine.runner import launch
    from swinv2_dense.inference.run_folders import checkpoint_of

    cfg = cli.load_config(args)
    if args.show or args.show_dir:
        launch.show_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.format_only:
        launch.only_format(cfg, args.format_only)
    if args.tta:
        launch.use_tta(cfg)
    launch.evaluate(cfg, checkpoint_of(args.checkpoint), out=args.out, dtype=args.dtype)
