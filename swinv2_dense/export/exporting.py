"""Writing a model as a file, and checking the file before it gets its name."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import sympy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export.detectors import paste
from swinv2_dense.export.loaded import METADATA, ExportedModel, load
from swinv2_dense.export.operators import onnx_translations
from swinv2_dense.export.tasks import Exportable, exportable

__all__ = ["Deviation", "ExportReport", "export"]

FORMATS = (".onnx", ".pt2")
TOLERANCE = {"fp32": 1e-4, "fp16": 5e-2}


@dataclass
class Deviation:
    """Largest difference between the file's outputs and the model's for one input, relative to the largest output."""

    shape: tuple[int, ...]
    error: float


@dataclass
class ExportReport:
    path: Path
    metadata: dict[str, Any]
    bytes: int
    checked: list[Deviation] = field(default_factory=list)

    @property
    def error(self) -> float:
        return max(deviation.error for deviation in self.checked)


def export(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    size: Sequence[int] | None = None,
    frames: int | None = None,
    half: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a model as ``.onnx`` or ``.pt2``, for batches of any size.

    The file takes normalised images, float32, B x 3 x H x W (clips: B x 3 x T x H x W). It is compared with the model
    first, on three sizes (where it takes any) and two batches, and has its name only if it agrees.

    Args:
        model: backbone, classifier, segmenter, video recogniser or detector with a SwinV2 backbone of ours.
        path: where to; its ending names the format.
        size: (H, W) in pixels that the file takes; None for any, which detectors cannot have.
        frames: T of the clips that a video model takes (default: what its config's pipeline makes, else 16).
        half: weights and arithmetic in float16; input and outputs stay float32.
        metadata: what else to note in the file: ``mean``, ``std``, ``classes`` ...

    Raises:
        UserError: the model cannot be exported, says why; or the file does not agree with it.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise UserError(f"{path}: its ending names the format, one of {', '.join(FORMATS)}")
    model = model.eval()
    what = exportable(model)
    if size is not None and min(size) < 1:
        raise UserError(f"--size {' '.join(map(str, size))}: height and width are pixels, from 1 on")
    if size is None and not what.any_size:
        raise UserError(f"a {type(model).__name__} can be exported for one size of image only: give it (--size H W)")
    inputs = _inputs(model, what, size, frames or _frames(getattr(model, "cfg", None)))
    notes = {**_notes(model, what, size, half), **(metadata or {})}
    if len(what.axes) == 3:
        notes["frames"] = inputs[0].shape[2]
    module = _Half(what.module) if half else what.module
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export") as folder:
        written = Path(folder) / path.name
        try:
            _write(_program(module, inputs[0], size), what, written, notes)
        except UserError:
            raise
        except Exception as error:  # of many types: whatever the exporters do not follow
            raise UserError(f"a {type(model).__name__} cannot be exported: {_reason(error)}") from error
        report = ExportReport(path, notes, sum(file.stat().st_size for file in Path(folder).iterdir()))
        report.checked = _check(load(written), what, inputs, TOLERANCE["fp16" if half else "fp32"])
        # a model beyond 2 GB has its weights in a file of their own, which goes first
        for file in sorted(Path(folder).iterdir(), key=lambda file: file == written):
            os.replace(file, path.parent / file.name)
    return report


def _reason(error: BaseException) -> str:
    """The innermost cause, in a line: it names the operator."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


class _Half(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.half()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(out.float() if out.is_floating_point() else out for out in self.module(images.half()))


def _notes(model: nn.Module, what: Exportable, size: Sequence[int] | None, half: bool) -> dict[str, Any]:
    backbone: Any = model if hasattr(model, "set_pretrained_window_size") else model.backbone
    preprocessor: Any = getattr(model, "data_preprocessor", None)
    notes: dict[str, Any] = {
        "task": what.task,
        "outputs": list(what.outputs),
        "axes": list(what.axes),
        "size": None if size is None else list(size),
        "precision": "fp16" if half else "fp32",
        "window_size": [list(window) for window in backbone.window_size],
        "pretrained_window_size": [list(window) for window in backbone.pretrained_window_size],
        "classes": list((getattr(model, "dataset_meta", None) or {}).get("classes") or []),
        **what.notes,
    }
    # as in a checkpoint: with it a file predicts from images, as its pipeline prepares them
    text = getattr(getattr(model, "cfg", None), "pretty_text", None)
    if text is not None:
        notes["config"] = text
    for name in ("mean", "std"):
        value = getattr(preprocessor, name, None)
        if value is not None:
            notes[name] = [round(float(v), 6) for v in torch.as_tensor(value).flatten()]
    if preprocessor is not None:
        # images are read as BGR, and turned where the model wants RGB; the libraries have a name for it each
        names = ("_channel_conversion", "channel_conversion", "to_rgb")
        notes["channel_order"] = "rgb" if any(getattr(preprocessor, name, False) for name in names) else "bgr"
    return notes


def _frames(cfg: Any) -> int:
    """Frames of the clips that a config's testing pipeline makes."""
    for split in ("test", "val"):
        dataset = ((cfg or {}).get(f"{split}_dataloader") or {}).get("dataset") or {}
        for step in dataset.get("pipeline") or []:
            if "clip_len" in step:
                return int(step["clip_len"])
    return 16


def _inputs(model: nn.Module, what: Exportable, size: Sequence[int] | None, frames: int) -> list[Tensor]:
    """What is traced with, and then all that the file is checked with: two batches of three sizes."""
    generator = torch.Generator().manual_seed(0)
    # several windows in every stage, and one in the late ones; multiples of patches and windows, and not
    sizes = [_many_windows(model), (256, 256), what.smallest] if size is None else [tuple(size)]
    clip = (frames,) if len(what.axes) == 3 else ()
    return [torch.randn(batch, 3, *clip, *s, generator=generator) for s in sizes for batch in (2, 1)]


def _many_windows(model: nn.Module) -> tuple[int, int]:
    """A size whose maps are longer than the window in every stage, along both axes. Tracing takes a number that is one,
    such as that of windows, for a constant, and two that are equal for the same."""
    backbone: Any = model if hasattr(model, "set_pretrained_window_size") else cast(Any, model).backbone
    sides = []
    for axis in (-2, -1):
        strides = [backbone.patch_size[axis] * 2**stage for stage in range(len(backbone.window_size))]
        longest = max(stride * window[axis] for stride, window in zip(strides, backbone.window_size, strict=True))
        sides.append(longest + (1 - 2 * axis) // 2 * strides[-1] + 5)
    return sides[0], sides[1]


def _program(module: nn.Module, x: Tensor, size: Sequence[int] | None) -> torch.export.ExportedProgram:
    axes = {0: torch.export.Dim.DYNAMIC}
    if size is None:
        axes |= {x.ndim - 2: torch.export.Dim.DYNAMIC, x.ndim - 1: torch.export.Dim.DYNAMIC}
    with torch.no_grad(), _quiet():
        program = torch.export.export(module, (x,), dynamic_shapes=(axes,))
    # The traced sizes have several windows in every stage, and torch writes down that all sizes must. What the program
    # computes holds for one window as well, as the check of small images shows.
    for symbol, limits in list(program.range_constraints.items()):
        program.range_constraints[symbol] = type(limits)(sympy.Integer(1), limits.upper)
    return program


def _write(program: torch.export.ExportedProgram, what: Exportable, path: Path, notes: Mapping[str, Any]) -> None:
    text = json.dumps(notes)
    if path.suffix == ".pt2":
        with _quiet():
            torch.export.save(program, path, extra_files={METADATA: text})
        return
    try:
        import onnxscript  # noqa: F401  what torch.onnx needs, and says less clearly
    except ImportError as error:
        raise UserError(f"writing ONNX needs {error.name}: pip install 'swinv2_dense[export]'") from error
    with _quiet():
        onnx = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=list(what.outputs),
            opset_version=18,
            custom_translation_table=onnx_translations() if what.task == "detection" else None,
        )
    assert onnx is not None
    onnx.model.metadata_props[METADATA] = text
    onnx.save(path)


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the exporters' progress and their warnings about themselves."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@torch.no_grad()
def _check(exported: ExportedModel, what: Exportable, inputs: Sequence[Tensor], tolerance: float) -> list[Deviation]:
    """Compare the file with what the model predicts.

    Raises:
        UserError: they differ.
    """
    found = []
    for x in inputs:
        outputs = exported(x.numpy())
        tensors = {name: torch.from_numpy(output) for name, output in outputs.items()}
        references = what.reference(x) if what.given is None else what.given(x, tensors, tolerance)
        wanted = {name: out.numpy() for name, out in zip(what.outputs, references, strict=False)}  # not DINO's queries
        if "boxes" in wanted:
            error = _detections_differ(outputs, wanted, x)
        else:
            predicted = {name: what.as_predicted(name, out).numpy() for name, out in tensors.items()}
            error = max(_difference(predicted[name], wanted[name], name, x) for name in predicted)
        if not error <= tolerance:  # also where it is no number
            raise _differs(f"outputs differ by {error:.1e}, more than {tolerance:.0e}", x)
        found.append(Deviation(tuple(x.shape), error))
    return found


def _difference(found: NDArray[Any], wanted: NDArray[Any], name: str, x: Tensor) -> float:
    """The largest, relative to the largest number: the scores of a thousand classes may all be small."""
    if found.shape != wanted.shape:
        raise _differs(f"{name} of {found.shape} instead of {wanted.shape}", x)
    return float(np.abs(found - wanted).max(initial=0)) / max(1e-3, float(np.abs(wanted).max(initial=0)))


def _detections_differ(found: dict[str, NDArray[Any]], wanted: dict[str, NDArray[Any]], x: Tensor) -> float:
    """Matches the boxes of every image, whose order is free where scores are nearly equal: every one of the model's
    needs one of its label in the file. Boxes are measured in image sides; masks by the share of pixels that differ."""
    side, error = max(x.shape[-2:]), 0.0
    for image in range(len(x)):
        theirs = [i for i in range(len(found["labels"][image])) if found["labels"][image, i] >= 0]
        ours = [i for i in range(len(wanted["labels"][image])) if wanted["labels"][image, i] >= 0]
        if len(theirs) != len(ours):
            raise _differs(f"{len(theirs)} boxes instead of {len(ours)}", x)
        for i in ours:
            candidates = [j for j in theirs if found["labels"][image, j] == wanted["labels"][image, i]]
            distances = {
                j: max(
                    float(np.abs(found["boxes"][image, j] - wanted["boxes"][image, i]).max()) / side,
                    abs(float(found["scores"][image, j] - wanted["scores"][image, i])),
                )
                for j in candidates
            }
            if not distances:
                raise _differs(f"no box of label {wanted['labels'][image, i]}", x)
            best = min(distances, key=lambda j: distances[j])
            theirs.remove(best)
            error = max(error, distances[best])
            if "masks" in found:
                box, mask = (torch.from_numpy(found[name][image, best : best + 1]) for name in ("boxes", "masks"))
                pixels = paste(mask, box, *x.shape[-2:])[0].numpy()
                # a pixel may lie on the threshold itself
                sure = np.abs(pixels - 0.5) > 1e-3
                error = max(error, float(((pixels >= 0.5) != wanted["masks"][image, i])[sure].mean()))
    return error


def _differs(what: str, x: Tensor) -> UserError:
    shape = " x ".join(map(str, x.shape))
    return UserError(
        f"nothing was written: of an input of {shape} the file makes something else than the model: {what}"
    )
