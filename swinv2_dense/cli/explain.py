"""Draw where a model looks in images: what speaks for a class, the windows of attention, and the position biases.

Writes NAME_cam.png, Grad-CAM on the maps of the backbone's stages over the image as the model sees it;
NAME_windows.png, how the blocks of every stage cut its map, with the token of most heat and the window that it attends
in; and NAME_biases.png, the learnt position biases of these windows. For classifiers, segmenters, detectors with an RoI
head (Faster R-CNN, Mask R-CNN, Cascade, HTC) or queries (DINO, Mask2Former), and video recognisers, of whose clip the
middle view is drawn.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swinv2_dense.cli.parser import Parser, add_model
from swinv2_dense.compat.quiet import quiet_libraries
from swinv2_dense.errors import UserError
from swinv2_dense.files import make_out, shown, within

if TYPE_CHECKING:
    from swinv2_dense.inference.model_loading import LoadedModel
    from swinv2_dense.models import SwinTransformerV2
    from swinv2_dense.visualization.grad_cam import Explanation


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    examples = ("iter_360.pth street.jpg", "iter_360.pth street.jpg --class person --stage 2 --token 10 12")
    parser = Parser("explain", __doc__, examples)
    add_model(parser, "a run's .pth, or its folder for the best one; weights alone need --config")
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="image, folder or pattern; for video recognisers clips"
    )
    parser.add_argument("--out", type=Path, default=Path("work_dirs/explain"), help="folder (default: %(default)s)")
    parser.add_argument("--class", dest="target", metavar="NAME", help="or its number (default: the likeliest)")
    parser.add_argument("--stage", type=int, nargs="+", metavar="N", help="from 0 on (default: all)")
    parser.add_argument(
        "--token",
        type=int,
        nargs="+",
        metavar="N",
        help="row and column, of clips time, row and column, of the map of the one --stage: whose window to show "
        "(default: the one of most heat)",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    _explain(parse_args(argv))


@quiet_libraries()
def _explain(args: argparse.Namespace) -> None:
    from mmengine.logging import MMLogger

    from swinv2_dense.inference.model_loading import load_model
    from swinv2_dense.inference.sources import expand, named

    MMLogger.get_current_instance().setLevel(logging.WARNING)  # the report of what was loaded is for training
    if args.token is not None and len(args.stage or ()) != 1:
        raise UserError("--token is of one stage's map: name that stage, --stage N")
    files = [entry for image in args.images for entry in expand(image)]  # a wrong one ends before the model loads
    make_out(args.out)
    loaded = load_model(args.checkpoint, args.config, device=args.device, window=args.window)
    label = None if args.target is None else _label(args.target, loaded.classes)
    for path, output, _ in named(files):
        if len(files) > 1:
            print(f"{shown(path)}:")
        _explain_one(args, loaded, path, output, label)


def _explain_one(args: argparse.Namespace, loaded: LoadedModel, path: str, stem: str, label: int | None) -> None:
    """Write the drawings of one image as ``stem`` below the folder, and print what they show."""
    from swinv2_dense.files import write_figure
    from swinv2_dense.visualization.explain import draw_cams, draw_windows
    from swinv2_dense.visualization.grad_cam import backbone_of, grad_cam, seen_by
    from swinv2_dense.visualization.position_biases import draw_biases_by_stage

    backbone = backbone_of(loaded)
    prepared = _prepare(loaded, _read(path, loaded), path)
    found = grad_cam(loaded, prepared, sorted(set(args.stage)) if args.stage else None, label)
    seen = seen_by(loaded, prepared)
    tokens = _tokens(found, backbone, seen.shape[-3:-1], args.token)

    name = loaded.classes[found.label] if found.label < len(loaded.classes) else f"class {found.label}"
    figures = {
        "cam": draw_cams(seen, found, backbone, name),
        "windows": draw_windows(seen, backbone, found.sizes, tokens),
        "biases": draw_biases_by_stage(backbone, found.sizes),
    }
    for part, figure in figures.items():
        target = within(args.out, f"{stem}_{part}.png", "name of the image")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_figure(target, figure, dpi=110)
    _report(found, backbone, name, tokens, loaded)
    print(f"drawn: {', '.join(f'{stem}_{part}.png' for part in figures)} in {shown(args.out)}")


def _read(path: str, loaded: LoadedModel) -> Any:
    """An image, or None for a video, which the model's pipeline reads itself."""
    from swinv2_dense.checks.channels import input_channels
    from swinv2_dense.inference.decoding import decoder_of, read_image
    from swinv2_dense.inference.sources import is_video

    if not is_video(path):
        return read_image(path, decoder_of(loaded.pipeline, input_channels(loaded.cfg)))
    if not Path(path).is_file():
        raise UserError(f"{shown(path)} does not exist: give an image or a video")
    return None


def _prepare(loaded: LoadedModel, image: Any, path: str) -> Any:
    from swinv2_dense.inference.pipelines import composed, entry

    if (image is None) != (loaded.task == "video"):
        wanted, given = ("a video", "an image") if loaded.task == "video" else ("an image", "a video")
        raise UserError(f"{shown(path)} is {given}: a model of {loaded.task} needs {wanted}")
    if image is not None:
        return composed(loaded)(entry(image, path))
    try:
        return composed(loaded)({"filename": path, "label": -1, "start_index": 0, "modality": "RGB"})
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{shown(path)} cannot be decoded: {str(error).splitlines()[0]}") from error


def _label(target: str, classes: Sequence[str]) -> int:
    from swinv2_dense.suggestions import did_you_mean

    known = {name.lower(): index for index, name in enumerate(classes)}
    if target in classes:  # Cat is another class than cat
        return list(classes).index(target)
    if target.lower() in known:
        return known[target.lower()]
    if target.isdecimal():
        return int(target)
    meant = did_you_mean(target.lower(), known, otherwise="give its number, from 0 on")
    raise UserError(f"--class: there is no class {target!r}: {meant}")


def _tokens(
    found: Explanation, backbone: SwinTransformerV2, pixels: tuple[int, int], given: Sequence[int] | None
) -> dict[int, tuple[int, ...]]:
    """By stage the token whose windows are shown."""
    from swinv2_dense.visualization.explain import hottest, strides, visible

    if given is None:
        tokens = {stage: hottest(visible(cam, strides(backbone, stage), pixels)) for stage, cam in found.cams.items()}
        return {stage: token for stage, token in tokens.items() if token is not None}
    (stage,) = found.cams
    size = found.sizes[stage]
    if len(given) != len(size) or any(at not in range(n) for at, n in zip(given, size, strict=True)):
        numbers = " x ".join(map(str, size))
        raise UserError(
            f"--token {' '.join(map(str, given))}: the map of stage {stage} is {numbers} tokens: give "
            f"{len(size)} numbers from 0 on below these"
        )
    return {stage: tuple(given)}


def _report(
    found: Explanation,
    backbone: SwinTransformerV2,
    name: str,
    tokens: dict[int, tuple[int, ...]],
    loaded: LoadedModel,
) -> None:
    from swinv2_dense.visualization.explain import grids, window_of

    print(f"{name}: {found.reason}")
    test_cfg = loaded.cfg.model.get("test_cfg") or {}
    if loaded.task == "segmentation" and test_cfg.get("mode") == "slide":
        print(f"the config predicts in crops of {test_cfg['crop_size']}; explained is the image as a whole")
    for stage in found.cams:
        if stage not in tokens:
            print(f"stage {stage}: nothing in its map speaks for {name}")
            continue
        token = tokens[stage]
        print(f"stage {stage}, token {', '.join(map(str, token))}:")
        for cut, grid in grids(backbone, stage, found.sizes[stage]).items():
            axes = ("times", "rows", "columns")[-len(token) :]
            spans = zip(axes, window_of(token, grid), strict=True)
            print(f"  {cut}; attends in {', '.join(f'{axis} {start} to {stop - 1}' for axis, (start, stop) in spans)}")
