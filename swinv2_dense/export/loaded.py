"""Reading what export wrote: a function from images to named outputs, and what the file says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swinv2_dense.errors import UserError

__all__ = ["METADATA", "ExportedModel", "load"]

METADATA = "swinv2_dense"
"""Key of the file's metadata, JSON; in a .pt2 the name of an extra file."""

Outputs = dict[str, NDArray[Any]]


class ExportedModel:
    """An exported model. Called with normalised images, float32, B x C x H x W (clips: B x C x T x H x W); returns its
    outputs by name. Two-stage detectors also take how much of every image is no padding, (height, width), B x 2; by
    default all of it.

    Attributes:
        metadata: ``task``; ``inputs`` and ``outputs``, their names; ``channels``; ``size``, the (H, W) that it takes,
            or None for any; ``mean`` and ``std`` of the input's channels and ``channel_order`` ('rgb' or 'bgr') where
            the model says them; ``classes``, ``palette``; ``window_size`` and ``pretrained_window_size`` of every
            stage; ``frames`` of a video model's clips; ``config``, its text, where the model had one.
    """

    def __init__(self, run: Callable[..., Outputs], metadata: Mapping[str, Any], source: str) -> None:
        self._run, self.metadata, self.source = run, dict(metadata), source

    def __call__(self, images: NDArray[Any], sizes: NDArray[Any] | None = None) -> Outputs:
        size, channels = self.metadata.get("size"), self.metadata.get("channels")
        if channels is not None and images.shape[1] != channels:
            raise UserError(f"{self.source} takes images of {channels} channels, not {images.shape[1]}")
        if size is not None and list(images.shape[-2:]) != list(size):
            wanted = " x ".join(map(str, size))
            raise UserError(
                f"{self.source} takes images of {wanted} pixels, not {images.shape[-2]} x {images.shape[-1]}"
            )
        inputs = [images]
        if "sizes" in self.metadata.get("inputs", ()):
            inputs.append(np.broadcast_to(images.shape[-2:], (len(images), 2)) if sizes is None else sizes)
        return self._run(*(np.ascontiguousarray(part, dtype=np.float32) for part in inputs))


def load(path: str | os.PathLike[str]) -> ExportedModel:
    """Read a ``.onnx`` (by ONNX Runtime) or a ``.pt2`` (by torch) that export wrote.

    Raises:
        UserError: no such file, not one of ours, or the runtime is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    readers = {".onnx": _onnx, ".pt2": _pt2}
    if path.suffix not in readers:
        raise UserError(f"{path}: exported models end in {' or '.join(readers)}")
    return readers[path.suffix](path)


def _onnx(path: Path) -> ExportedModel:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(f"reading {path} needs onnxruntime ({error}): pip install 'swinv2_dense[export]'") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # warnings speak of the file's optimisation, which a reader cannot change
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=onnxruntime.get_available_providers())
    except Exception as error:  # of many types, private ones among them
        raise UserError(f"ONNX Runtime cannot read {path}: {str(error).splitlines()[0]}") from error
    names = [output.name for output in session.get_outputs()]
    arguments = [item.name for item in session.get_inputs()]
    metadata = _metadata(session.get_modelmeta().custom_metadata_map.get(METADATA), path)

    def run(*inputs: NDArray[Any]) -> Outputs:
        return dict(zip(names, session.run(None, dict(zip(arguments, inputs, strict=True))), strict=True))

    return ExportedModel(run, metadata, str(path))


def _pt2(path: Path) -> ExportedModel:
    import torch

    from swinv2_dense.export import operators  # noqa: F401  detectors need them

    extra = {METADATA: ""}
    try:
        program = torch.export.load(path, extra_files=extra)
    except Exception as error:  # a damaged archive, another torch's format, an unknown operator
        raise UserError(f"torch cannot read {path}: {str(error).splitlines()[0]}") from error
    metadata = _metadata(extra[METADATA], path)
    # Guards compare with the sizes that it was written with, in stages of one window too; what it computes is checked
    # for all when it is written.
    module = program.module(check_guards=False)

    def run(*inputs: NDArray[Any]) -> Outputs:
        with torch.no_grad():
            outputs = module(*map(torch.from_numpy, inputs))
        return {name: output.numpy() for name, output in zip(metadata["outputs"], outputs, strict=True)}

    return ExportedModel(run, metadata, str(path))


def _metadata(text: str | bytes | None, path: Path) -> dict[str, Any]:
    if not text:
        raise UserError(f"{path} was not written by swinv2 export: it has no metadata of ours")
    found: dict[str, Any] = json.loads(text)
    return found
