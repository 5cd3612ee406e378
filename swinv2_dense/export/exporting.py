"""Writing a model as a file, and checking the file before it gets its name."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import sympy
import torch
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export.checking import Deviation, check
from swinv2_dense.export.loaded import METADATA, load
from swinv2_dense.export.operators import onnx_translations
from swinv2_dense.export.tasks import Exportable, exportable
from swinv2_dense.models.swin_v2 import input_channels

__all__ = ["ExportReport", "export"]

FORMATS = (".onnx", ".pt2")


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

    The file takes normalised images, float32, B x C x H x W (clips: B x C x T x H x W). It is compared with the model
    first, on three sizes (where it takes any) and two batches, and has its name only if it agrees. A model in another
    precision or on another device is written, and compared, as its copy in float32 on the CPU.

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
    if size is not None and min(size) < 1:
        raise UserError(f"--size {' '.join(map(str, size))}: height and width are pixels, from 1 on")
    with _plain(model) as plain:
        return _export(plain, path, size, frames, half, metadata or {})


@contextlib.contextmanager
def _plain(model: nn.Module) -> Iterator[nn.Module]:
    """The model in evaluation mode, in float32 on the CPU; a copy where it is not. Its mode is put back."""
    tensors = [*model.parameters(), *model.buffers()]
    if any(t.device.type != "cpu" or (t.is_floating_point() and t.dtype != torch.float32) for t in tensors):
        if any(t.is_meta for t in tensors):
            raise UserError(
                f"a {type(model).__name__} without weights (device meta) cannot be exported: load them first"
            )
        model = copy.deepcopy(model).float().cpu()
    training = {module: module.training for module in model.modules()}
    try:
        yield model.eval()
    finally:
        for module, mode in training.items():
            module.training = mode


def _export(
    model: nn.Module,
    path: Path,
    size: Sequence[int] | None,
    frames: int | None,
    half: bool,
    metadata: Mapping[str, Any],
) -> ExportReport:
    what = exportable(model)
    if size is None and not what.any_size:
        raise UserError(f"a {type(model).__name__} can be exported for one size of image only: give it (--size H W)")
    if half and not what.half:
        raise UserError(f"--half: a {type(model).__name__} can be exported in float32 only: leave it out")
    inputs = _inputs(model, what, size, frames or _frames(getattr(model, "cfg", None)))
    notes = {**_notes(model, what, size, half), **metadata}
    if len(what.axes) == 3:
        notes["frames"] = inputs[0][0].shape[2]
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
        report.checked = check(load(written), what, inputs, notes["precision"], model)
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

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        outputs = self.module(images.half()) if sizes is None else self.module(images.half(), sizes)
        return tuple(out.float() if out.is_floating_point() else out for out in outputs)


def _notes(model: nn.Module, what: Exportable, size: Sequence[int] | None, half: bool) -> dict[str, Any]:
    backbone: Any = model if hasattr(model, "set_pretrained_window_size") else model.backbone
    preprocessor: Any = getattr(model, "data_preprocessor", None)
    notes: dict[str, Any] = {
        "task": what.task,
        "inputs": ["images", "sizes"] if what.sizes else ["images"],
        "channels": input_channels(model),
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


def _inputs(model: nn.Module, what: Exportable, size: Sequence[int] | None, frames: int) -> list[tuple[Tensor, ...]]:
    """What is traced with, and then all that the file is checked with: two batches of three sizes; where the sizes of
    padded images are an input, the second image of a batch is one."""
    generator = torch.Generator().manual_seed(0)
    # several windows in every stage, and one in the late ones; multiples of patches and windows, and not
    sizes = [_many_windows(model), (256, 256), what.smallest] if size is None else [tuple(size)]
    clip = (frames,) if len(what.axes) == 3 else ()
    shapes = [(batch, input_channels(model), *clip, *s) for s in sizes for batch in (2, 1)]
    images = [torch.randn(shape, generator=generator) for shape in shapes]
    return [_padded(x) for x in images] if what.sizes else [(x,) for x in images]


def _padded(x: Tensor) -> tuple[Tensor, Tensor]:
    """A batch, its second image padded, and the images' own sizes."""
    sizes = x.new_tensor(x.shape[-2:]).repeat(len(x), 1)
    sizes[1:] = (sizes[1:] * x.new_tensor([0.7, 0.8])).ceil()
    for image, (height, width) in zip(x, sizes.int().tolist(), strict=True):
        image[..., height:, :], image[..., width:] = 0, 0
    return x, sizes


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


def _program(module: nn.Module, inputs: tuple[Tensor, ...], size: Sequence[int] | None) -> torch.export.ExportedProgram:
    axes = [{0: torch.export.Dim.DYNAMIC} for _ in inputs]
    if size is None:
        last = inputs[0].ndim
        axes[0] |= {last - 2: torch.export.Dim.DYNAMIC, last - 1: torch.export.Dim.DYNAMIC}
    with torch.no_grad(), _quiet():
        program = torch.export.export(module, inputs, dynamic_shapes=tuple(axes))
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
            input_names=notes["inputs"],
            output_names=list(what.outputs),
            opset_version=what.opset,
            custom_translation_table=onnx_translations() if what.task == "detection" else None,
            optimize=False,
        )
        assert onnx is not None
        _simplify(onnx.model)
    onnx.model.metadata_props[METADATA] = text
    onnx.save(path)


def _simplify(model: Any) -> None:
    """Functions in line, constants folded, nothing twice and nothing unused: what makes a file small and readable.

    torch's own way to do this also searches for patterns, which takes half of an export's time and finds little here;
    runtimes look for theirs when they open a file.
    """
    from onnx_ir.passes import common
    from onnxscript import optimizer

    optimizer.inline(model)
    while optimizer.fold_constants(model).modified:
        optimizer.remove_unused_nodes(model)
    for tidy in (
        common.RemoveUnusedFunctionsPass,
        common.RemoveUnusedOpsetsPass,
        common.DeduplicateInitializersPass,
        common.CommonSubexpressionEliminationPass,
        common.RemoveUnusedNodesPass,
        common.NameFixPass,
    ):
        tidy()(model)


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the exporters' progress and their warnings about themselves."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
