"""Write a model as an ONNX file or a program of torch.export, for batches of any size, and check it at once.

CHECKPOINT is a run's .pth, which holds its config; weights alone need --config. Files take images of any size unless
--size names one, which detectors of two stages need.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from swinv2_dense.cli.parser import Parser


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    examples = (
        "work_dirs/upernet_swinv2_t/iter_160000.pth --to onnx",
        "work_dirs/htc_without_semantic_swinv2_t/epoch_36.pth --to onnx --size 1344 1344 --out htc.onnx",
    )
    parser = Parser("export", __doc__, examples)
    parser.add_argument("checkpoint", metavar="CHECKPOINT")
    parser.add_argument("--config", help="name or path of the config, for a checkpoint that holds weights alone")
    parser.add_argument("--to", choices=("onnx", "pt2"), default="onnx", help="format (default: onnx)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="the one size that the file takes, pixels")
    size.add_argument("--dynamic", action="store_true", help="take any size (default, except for two-stage detectors)")
    parser.add_argument("--half", action="store_true", help="compute in float16")
    parser.add_argument("--backbone", action="store_true", help="the backbone alone: features of its stages")
    parser.add_argument("--out", metavar="FILE", help="(default: CHECKPOINT with the format's ending)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from swinv2_dense.export import export
    from swinv2_dense.inference.model_loading import load_model

    loaded = load_model(args.checkpoint, args.config, device="cpu")
    model = loaded.model.get_submodule("backbone") if args.backbone else loaded.model
    out = args.out or Path(args.checkpoint).with_suffix(f".{args.to}")
    names = {"classes": list(loaded.classes), "palette": [list(colour) for colour in loaded.palette]}
    report = export(model, out, size=args.size, half=args.half, metadata=names)
    for deviation in report.checked:
        rounding = deviation.rounding
        why = f" (the model's own in float32: {rounding:.1e})" if rounding is not None else ""
        print(f"{' x '.join(map(str, deviation.shape)):>24}   difference {deviation.error:.1e}{why}")
    print(f"wrote {report.path} ({report.bytes / 2**20:.1f} MiB)")
