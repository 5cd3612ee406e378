"""Predict on images, folders, patterns, videos, a camera (its number) or standard input (-) with a trained model.

Writes each image with what was found drawn on it, and predictions.jsonl: COCO's result format for detection, with masks
as run lengths; for segmentation also an index map, maps/NAME.png; for classes their labels and scores. Models of SimMIM
reconstruct images of which they see a part. A checkpoint that swinv2 train saved, and what swinv2 export made of it,
needs nothing else. What cannot be read is listed, the rest is predicted, and the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swinv2_dense.cli.parser import Parser, add_dtype, add_model
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

if TYPE_CHECKING:
    from swinv2_dense.inference.sources import Item, SourceFile


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    examples = (
        "work_dirs/demo/htc/iter_360.pth street.jpg",
        "iter_360.pth images/ 'more/*.png' --out predictions --score 0.5 --classes person car",
        "iter_360.pth aerial.tif --tile 1024 --overlap 0.2",
        "weights.pth street.jpg --config coco/htc_swinv2_t",
    )
    parser = Parser("predict", __doc__, examples)
    add_model(parser, "a run's .pth, or its folder for the best one; its .onnx or .pt2; weights alone need --config")
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="image, folder, pattern, video, camera number, -")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/predict"), help="folder (default: %(default)s)")
    parser.add_argument("--score", type=float, default=0.3, help="lowest score of a detection (default: %(default)s)")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="leave out all classes but these")
    parser.add_argument("--tile", type=int, metavar="PIXELS", help="predict large images in tiles of this side")
    parser.add_argument("--overlap", type=float, default=0.2, help="of neighbouring tiles (default: %(default)s)")
    parser.add_argument(
        "--tta", action="store_true", help="test-time augmentation, by the config's tta_model; else by mirror images"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images predicted together (default: 1)")
    add_dtype(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    return _predict(parse_args(argv))


@quiet_libraries()
def _predict(args: argparse.Namespace) -> int:
    from mmengine.logging import MMLogger

    from swinv2_dense.inference.predictor import Predictor

    MMLogger.get_current_instance().setLevel(logging.WARNING)  # the report of what was loaded is for training
    files = _files(args.sources, args.out)  # a wrong source ends before the model loads
    predictor = Predictor(
        args.checkpoint,
        args.config,
        device=args.device,
        window=args.window,
        tta=args.tta,
        score=args.score,
        classes=args.classes,
        batch=args.batch,
        tile=args.tile,
        overlap=args.overlap,
        dtype=args.dtype,
    )
    failed: list[Item] = []
    start = time.perf_counter()
    done, earlier = _write_all(predictor, files, args.out, failed)
    seconds = time.perf_counter() - start
    print(f"{done} predicted in {seconds:.1f} s: {args.out}")
    read = {Path(file.path).resolve() for file in files}
    earlier = [path for path in earlier if path.resolve() not in read]
    if earlier:
        print(f"{args.out} also holds {len(earlier)} drawings that are not of this run, such as {shown(earlier[0])}")
    if failed:
        raise UserError(f"{len(failed)} of {len(failed) + done} could not be read, listed above")
    return 0


def _files(sources: Sequence[str], out: Path) -> list[SourceFile]:
    """Each file of the sources once, without what an earlier run drew.

    Raises:
        UserError: there is nothing, or a drawing would take the place of a file that is predicted on.
    """
    from swinv2_dense.inference.prediction_files import files_of
    from swinv2_dense.inference.sources import expand, named

    folder, found, drawn = out.resolve(), dict[str, tuple[str, str]](), 0
    for source in sources:
        entries = expand(source)
        others = [entry for entry in entries if folder not in Path(entry[0]).resolve().parents]
        if others and len(others) < len(entries):  # --out lies in the source
            drawn += len(entries) - len(others)
            entries = others
        for entry in entries:
            found.setdefault(os.path.abspath(entry[0]), entry)
    if drawn:
        print(f"left out: {drawn} in {out}, the folder of --out")
    files, read = named(list(found.values())), {Path(path).resolve() for path in found}
    for file in files:
        for written in files_of(file.output):
            if (folder / written).resolve() in read:
                raise UserError(
                    f"--out {out}: {written.as_posix()} would be written over a source of that name: name another "
                    "folder"
                )
    return files


def _write_all(predictor: Any, files: Sequence[SourceFile], out: Path, failed: list[Item]) -> tuple[int, list[Path]]:
    """Predict on all and write as it goes; returns how many there were, and what an earlier run left in the folder."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    from swinv2_dense.inference.prediction_files import PredictionFiles

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        PredictionFiles(out, predictor.task) as written,
        Progress(*columns, transient=True, disable=not sys.stdout.isatty()) as bar,
    ):
        task = bar.add_task("predicting", total=len(files))
        frames: TaskID | None = None
        ended: set[str] = set()

        def report(item: Item, line: str) -> None:
            if item.frame is None or item.path not in ended:  # of a video, its first frame
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
                bar.advance(task)
            ended.add(item.path)

        def fail(item: Item) -> None:
            failed.append(item)
            report(item, f"not read: {item.problem}")

        done = 0
        from_camera = False
        try:
            for item, result in predictor.pairs(files, fail):
                report(item, f"{item.name}: {result.summary()}")
                written.add(item, result)
                done += 1
                from_camera = item.frame is not None and not item.frames
                if item.frame == 0:
                    if frames is not None:
                        bar.remove_task(frames)
                    frames = bar.add_task(item.path, total=item.frames or None)
                if item.frame is not None and frames is not None:
                    bar.advance(frames)
        except KeyboardInterrupt:
            if not from_camera:  # which has no other end
                raise
    return done, written.earlier()
