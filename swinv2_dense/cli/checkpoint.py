"""Look into a SwinV2 checkpoint of any publisher, or write it as another publisher would.

FILE is a path or address of a .pth, .bin or .safetensors, a HuggingFace folder, timm:NAME or hf:NAME; FILE#KEY takes
the weights under KEY of a file that holds several, such as an average. The publisher (Microsoft, timm, HuggingFace,
MMPretrain, torchvision, SimMIM or this toolkit) is found from the content.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from swinv2_dense.cli.parser import Parser
from swinv2_dense.errors import printable


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    from swinv2_dense.checkpoint.writing import TARGETS

    examples = (
        "inspect swinv2_tiny_patch4_window8_256.pth",
        "convert work_dirs/htc/epoch_12.pth swinv2.safetensors --to timm",
    )
    parser = Parser("checkpoint", __doc__, examples)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{inspect,convert}")

    inspect = commands.add_parser(
        "inspect", prog="swinv2 checkpoint inspect", help="print publisher, architecture, windows, head and size"
    )
    inspect.add_argument("file", metavar="FILE")

    to = commands.add_parser(
        "convert",
        prog="swinv2 checkpoint convert",
        help="write the backbone, and a classifier's head, in a publisher's layout",
    )
    to.add_argument("file", metavar="FILE")
    to.add_argument("out", metavar="OUT", help=".pth or .safetensors; a folder for huggingface")
    to.add_argument("--to", required=True, choices=TARGETS, help="whose names and layout")
    to.add_argument("--window", type=int, metavar="TOKENS", help="window of the model to write (default: FILE's)")
    to.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="image side of the classifier to write (default: the one whose last stage is a single window)",
    )
    to.add_argument(
        "--pretrained-window",
        type=int,
        nargs="+",
        metavar="TOKENS",
        help="window of the pre-training, one number or one a stage, for a FILE that does not say",
    )
    for command in (inspect, to):
        command.add_argument("--trust", action="store_true", help="run the code in a pickle, if you trust its origin")
    return parser.parse_args(argv)


def show(args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from swinv2_dense.checkpoint import read, summarize
    from swinv2_dense.models.archs import ARCHS

    summary = summarize(read(args.file, trust=args.trust))
    shape = summary.anatomy
    names = [
        name
        for name, arch in ARCHS.items()
        if (arch.embed_dims, arch.depths, arch.num_heads) == (shape.embed_dims, shape.depths, shape.num_heads)
    ]
    # as they are: brackets in a name are no markup of rich's, and what controls a terminal is escaped
    table = Table("", Column(Text(printable(args.file))), title="SwinV2 checkpoint", title_justify="left")
    table.add_row("arch", names[0] if names else "none of the paper's")
    for label, text in summary.rows():
        table.add_row(Text(printable(label)), Text(printable(text)))
    Console().print(table)


def write(args: argparse.Namespace) -> None:
    from swinv2_dense.checkpoint import convert

    pretrained = args.pretrained_window
    left = convert(
        args.file,
        args.out,
        args.to,
        window_size=args.window,
        image_size=args.image_size,
        pretrained_window_size=pretrained[0] if pretrained and len(pretrained) == 1 else pretrained,
        trust=args.trust,
    )
    print(f"wrote {printable(args.out)}")
    if left:
        print(f"left out {len(left)} tensors that {args.to}'s SwinV2 has no place for, e.g. {printable(left[0])}")


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    {"inspect": show, "convert": write}[args.command](args)
