"""Draw how large features are behind every block of a config's backbone (figure 2 of the paper).

One curve with random weights, and one with those of each checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from swinv2_dense.cli import common as cli
from swinv2_dense.cli.parser import Parser, add_common_options, add_config
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import Tensor


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser("amplitude", __doc__, ("htc_swinv2_t --images street.jpg --weights work_dirs/htc/epoch_36.pth",))
    add_config(parser)
    parser.add_argument("--weights", nargs="+", default=[], metavar="PATH", help="checkpoints, one curve each")
    parser.add_argument("--images", required=True, nargs="+", type=Path, help="images; several are one batch")
    parser.add_argument(
        "--size", type=int, default=256, metavar="PIXELS", help="side they are resized to (default 256)"
    )
    parser.add_argument("--frames", type=int, default=16, help="of a clip that repeats each image, for video (16)")
    add_common_options(parser)
    return parser.parse_args(argv)


def read_images(paths: Sequence[Path], side: int, cfg: Config) -> Tensor:
    """Images as the config's preprocessor normalises them, B x 3 x H x W."""
    import cv2
    import numpy as np
    import torch

    preprocessor = cfg.model.data_preprocessor
    images = []
    for path in paths:
        image = cv2.imread(str(path))
        if image is None:
            raise UserError(f"--images {path}: no image that OpenCV can read")
        images.append(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)[..., ::-1])
    x = (np.stack(images) - np.array(preprocessor.mean)) / np.array(preprocessor.std)
    return torch.from_numpy(x).float().permute(0, 3, 1, 2)


def main(argv: Sequence[str] | None = None) -> None:
    _amplitude(parse_args(argv))


@quiet_libraries()
def _amplitude(args: argparse.Namespace) -> None:
    import torch

    from swinv2_dense.checkpoint import load_pretrained
    from swinv2_dense.engine.hooks.amplitude_hook import watch_blocks
    from swinv2_dense.registry import MODELS
    from swinv2_dense.visualization.amplitude_plot import draw_amplitudes

    cfg = cli.load_config(args)
    x = read_images(args.images, args.size, cfg)
    curves: dict[str, list[float]] = {}
    for weights in (None, *args.weights):
        torch.manual_seed(0)
        backbone = MODELS.build(cfg.model.backbone).eval()
        if weights is not None:
            load_pretrained(backbone, weights)
        still = x[:, :, None].expand(-1, -1, args.frames, -1, -1)
        with torch.no_grad(), watch_blocks(backbone) as seen:
            backbone(x if len(backbone.axes) == 2 else still)
        curves["random weights" if weights is None else Path(weights).name] = seen.stacked().tolist()
    for name, values in curves.items():
        print(f"{name}: {', '.join(f'{value:.3g}' for value in values)}")
    out = Path(cfg.work_dir, "amplitude.png")
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_amplitudes(curves, seen.depths(), out)
    print(f"wrote {out}")
