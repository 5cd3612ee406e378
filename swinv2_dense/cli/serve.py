"""Open a page in the browser on which a trained model predicts: drop an image or a clip, see what is found in it.

Score and window can be changed there; drawing, table and predictions.jsonl, as swinv2 predict writes it, can be
downloaded. Only this machine reaches the page, unless --host says otherwise. Ctrl-C ends it, and removes the uploads.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from swinv2_dense.cli.parser import Parser, add_model
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.errors import UserError
from swinv2_dense.extras import missing

if TYPE_CHECKING:
    from swinv2_dense.inference.predictor import Predictor
    from swinv2_dense.web.service import Window


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    examples = ("work_dirs/demo/htc/iter_360.pth", "weights.pth --config coco/htc_swinv2_t --score 0.5 --port 8000")
    parser = Parser("serve", __doc__, examples)
    add_model(parser, "a run's .pth, or its folder for the best one; weights alone need --config")
    parser.add_argument("--score", type=float, default=0.3, help="lowest score at first (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0: for everybody (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="0: any free one (default: %(default)s)")
    args = parser.parse_args(argv)
    if not 0 <= args.port < 2**16:
        parser.error(f"--port {args.port}: give a number below 65536")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the uploads are removed then too
    try:
        _serve(args)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


@quiet_libraries()
def _serve(args: argparse.Namespace) -> None:
    from mmengine.logging import MMLogger

    from swinv2_dense.web.server import address_of, bind, is_local, private_gradio, serve

    with tempfile.TemporaryDirectory(prefix="swinv2_serve_") as folder, bind(args.host, args.port) as taken:
        private_gradio(str(Path(folder, "uploads")))
        try:
            from swinv2_dense.web.page import build
        except ImportError as error:
            raise UserError(missing("swinv2 serve", error, "web")) from error
        from swinv2_dense.inference.predictor import Predictor
        from swinv2_dense.web.service import Service

        def load(window: Window, score: float) -> Predictor:
            return Predictor(args.checkpoint, args.config, device=args.device, window=window, score=score)

        MMLogger.get_current_instance().setLevel(logging.WARNING)  # the report of what was loaded is for training
        service = Service(load, args.window, args.score, Path(folder))
        print(f"{args.checkpoint}: {service.about()}")
        if not is_local(taken):
            port = taken.getsockname()[1]
            print(
                f"warning: whoever reaches port {port} of this machine can use the model and its time", file=sys.stderr
            )
        print(f"open {address_of(taken)} in a browser; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            serve(build(service, Path(args.checkpoint).name), taken)
