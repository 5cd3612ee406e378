"""What is installed and what of it can be imported, without any judgement."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

__all__ = ["PARTS", "Facts", "Part", "collect"]

_MM = ("det", "seg", "video", "cls")


class Part(NamedTuple):
    """A module to import, the distribution we name for it, the extras that need it, and what else is imported of it."""

    module: str
    distribution: str
    extras: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()


PARTS = (
    Part("torch", "torch"),
    Part("torchvision", "torchvision"),
    Part("numpy", "numpy"),
    Part("timm", "timm"),
    Part("safetensors", "safetensors", imports=("safetensors.torch",)),
    Part("rich", "rich"),
    Part("cv2", "opencv-contrib-python-headless", _MM),
    Part("mmengine", "onedl-mmengine", imports=("mmengine.model",)),
    Part("mmcv", "mmcv-lite", _MM),
    Part("mmcv.ops", "mmcv-lite", _MM),
    Part("mmdet", "onedl-mmdetection", ("det",), ("mmdet.models", "mmdet.datasets", "mmdet.evaluation", "mmdet.apis")),
    Part("pycocotools", "pycocotools", ("det",), ("pycocotools.mask",)),
    Part("mmseg", "onedl-mmsegmentation", ("seg",), ("mmseg.models", "mmseg.datasets", "mmseg.apis")),
    Part("mmaction", "mmaction2", ("video",), ("mmaction.models", "mmaction.datasets", "mmaction.apis")),
    Part("av", "av", ("video",)),
    Part("mmpretrain", "onedl-mmpretrain", ("cls", "test"), ("mmpretrain.models",)),
    Part("transformers", "transformers", ("test",)),
    Part("onnx", "onnx", ("export",)),
    Part("onnxscript", "onnxscript", ("export",)),
    Part("onnxruntime", "onnxruntime", ("export",)),
    Part("gradio", "gradio", ("web",)),
)


@dataclass(frozen=True)
class Facts:
    """What was found on this machine; modules are those of ``PARTS``."""

    versions: dict[str, str] = field(default_factory=dict)
    """By module, of what could be imported."""
    errors: dict[str, str] = field(default_factory=dict)
    """By module, why something that is installed could not be imported."""
    distributions: dict[str, str] = field(default_factory=dict)
    """Version by name of every installed distribution."""
    suppliers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By top module, the distributions that write it."""
    operators: str = ""
    """Whose mmcv's operators are: ``torchvision``, ``compiled for CPU`` or ``compiled for CPU and CUDA 13.0``."""
    torch_cuda: str = ""
    """CUDA version of the torch build; empty for a CPU build."""
    cards: tuple[str, ...] = ()
    """Names of the GPUs that torch sees."""
    gpu_present: bool = False
    """Whether the machine has an NVIDIA GPU, as its driver says; torch may see it or not."""
    repairs: tuple[str, ...] = ()
    """What had to be repaired in order to import mmaction2."""
    no_kernel: str = ""
    """Why CPUs have torch's attention and linear layers instead of our own kernels, or empty."""


def collect(report: Callable[[str], object] = lambda module: None) -> Facts:
    """Import every part and note what happened. ``report`` is called with each module's name before it is imported."""
    top_modules = {part.module.split(".")[0] for part in PARTS}
    suppliers = importlib.metadata.packages_distributions()
    found: dict[str, tuple[str, ...]] = {m: tuple(sorted(set(suppliers.get(m, ())))) for m in top_modules}
    versions, errors = {}, {}
    for part in PARTS:
        report(part.module)
        try:
            # Some libraries print while they are imported.
            with (
                warnings.catch_warnings(),
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                warnings.simplefilter("ignore")
                versions[part.module] = _import(part)
        except Exception as error:
            # A part may die in any way while it is imported; without a supplier it is absent, not broken.
            if found[part.module.split(".")[0]]:
                errors[part.module] = f"{type(error).__name__}: {error}"
    return Facts(
        versions=versions,
        errors=errors,
        distributions={
            d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions() if d.metadata["Name"]
        },
        suppliers=found,
        operators=_operators() if "mmcv.ops" in versions else "",
        gpu_present=Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None,
        repairs=_repairs() if "mmaction" in versions else (),
        no_kernel=_no_kernel(report) if "torch" in versions else "",
        **(_cuda() if "torch" in versions else {}),
    )


def _import(part: Part) -> str:
    """Import all of a part and return its version."""
    if part.module == "mmaction":
        from swinv2_dense.compat.mmaction import import_mmaction

        import_mmaction()
    module = importlib.import_module(part.module)
    for name in part.imports:
        importlib.import_module(name)
    if part.module == "mmcv.ops":
        _run_operator()
    own = getattr(module, "__version__", None)
    if isinstance(own, str):
        return own
    # Perhaps of another distribution than the one that we would install.
    suppliers = importlib.metadata.packages_distributions().get(part.module.split(".")[0])
    return importlib.metadata.version(suppliers[0] if suppliers else part.distribution)


def _run_operator() -> None:
    """Run one operator of mmcv on every kind of device that it is there for."""
    import torch
    from mmcv.ops import nms

    on_gpu = torch.cuda.is_available() and _operators() != "compiled for CPU"
    boxes, scores = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]]), torch.tensor([0.9, 0.8])
    for device in ["cpu", "cuda"] if on_gpu else ["cpu"]:
        nms(boxes.to(device), scores.to(device), 0.5)


def _operators() -> str:
    from swinv2_dense.compat.mmcv_ops import state

    if state() == "torchvision":
        return "torchvision"
    from mmcv.ops import get_compiling_cuda_version

    cuda = get_compiling_cuda_version()
    return "compiled for CPU" if cuda == "not available" else f"compiled for CPU and CUDA {cuda}"


def _no_kernel(report: Callable[[str], object]) -> str:
    report("CPU kernels")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            from swinv2_dense.cpu.native import WITHOUT, library

            if library() is not None:
                return ""
        except Exception as error:  # torch or torchvision is broken, which has a line of its own
            return f"{type(error).__name__}: {error}".splitlines()[0]
    return str(warned[-1].message).removeprefix(WITHOUT) if warned else "they could not be compiled"


def _repairs() -> tuple[str, ...]:
    from swinv2_dense.compat.mmaction import repairs

    return tuple(repairs)


def _cuda() -> dict:
    import torch

    cards = tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return {"torch_cuda": torch.version.cuda or "", "cards": cards}
