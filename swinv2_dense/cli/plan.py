"""Which GPUs a training needs: parameters, FLOPs, and memory by part for each strategy and precision.

Nothing is allocated: one training step runs on tensors without numbers, and what it would hold is counted. Losses and
targets, which depend on what is in the images, are left out; two-stage heads get as many boxes as their samplers draw
at most."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from swinv2_dense.cli import common as cli
from swinv2_dense.cli.parser import Parser, add_common_options, add_config
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.config_files import STRATEGIES as STRATEGY_FILES
from swinv2_dense.errors import UserError


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("plan", __doc__, ("htc_swinv2_l --gpus 8 --memory 40",))
    add_config(parser)
    parser.add_argument("--gpus", type=int, default=8, metavar="N", help="GPUs, all nodes together (default 8)")
    parser.add_argument("--memory", type=float, default=40, metavar="GIB", help="of each GPU (default 40)")
    parser.add_argument(
        "--reserve",
        type=float,
        default=2,
        metavar="GIB",
        help="of it for CUDA itself, the network's buffers and gaps between tensors: a margin, not a measurement "
        "(default 2)",
    )
    parser.add_argument("--batch", type=int, metavar="N", help="images on each GPU (default: the config's)")
    parser.add_argument("--size", type=int, nargs="+", metavar="PIXELS", help="HEIGHT WIDTH, of clips FRAMES before")
    add_common_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    _plan(parse_args(argv))


@quiet_libraries()
def _plan(args: argparse.Namespace) -> None:
    from mmengine.config import Config
    from rich.console import Console

    from swinv2_dense.checks.types import check_types
    from swinv2_dense.planning import GIB, input_size, make_plan, summary, table
    from swinv2_dense.planning.placement import STRATEGIES

    _check_numbers(args)
    cfg = cli.load_config(args)
    check_types(cfg, "plan")
    axes = 3 if str(cfg.model.get("backbone", {}).get("type")).endswith("VideoSwinTransformerV2") else 2
    if args.size and len(args.size) != axes:
        needs = "FRAMES HEIGHT WIDTH" if axes == 3 else "HEIGHT WIDTH"
        raise UserError(f"--size {' '.join(map(str, args.size))}: this model takes {needs}")
    console = Console()
    if not console.is_terminal:
        console.width = 160
    size = tuple(args.size or input_size(cfg))
    batch = args.batch or cfg.train_dataloader.get("batch_size", 1)
    options = {name: Config.fromfile(file) for name in STRATEGIES if (file := STRATEGY_FILES / f"{name}.py").is_file()}
    with console.status("") as status:
        plan = make_plan(cfg, size, batch, options=options, progress=lambda what: status.update(f"{what} ..."))
    weights, usable = plan.weights, (args.memory - args.reserve) * GIB
    console.print(
        f"{args.config}: {weights.parameters / 1e6:,.1f} M parameters, {weights.trained / 1e6:,.1f} M trained; "
        f"{plan.flops / 1e12:,.1f} TFLOPs a step forwards and backwards on each GPU",
        highlight=False,
    )
    console.print(table(plan, args.gpus, usable))
    console.print(f"GPUs of {args.memory:g} GiB, of which {args.reserve:g} are kept free;", end=" ", highlight=False)
    for line in summary(plan, args.gpus, usable):
        console.print(line, highlight=False, markup=False)


def _check_numbers(args: argparse.Namespace) -> None:
    for name in ("gpus", "memory", "batch"):
        value = getattr(args, name)
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{name} {value:g}: give a positive number")
    if not 0 <= args.reserve < args.memory:
        raise UserError(f"--reserve {args.reserve:g}: give a number from 0 on, below the {args.memory:g} of --memory")
    if any(side < 1 for side in args.size or ()):
        raise UserError(f"--size {' '.join(map(str, args.size))}: give numbers of pixels from 1 on")
