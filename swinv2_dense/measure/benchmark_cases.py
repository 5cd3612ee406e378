"""The cases of ``swinv2 bench``."""

from __future__ import annotations

from swinv2_dense.measure.backbone_case import BackboneCase
from swinv2_dense.measure.benchmark import DTYPES, Case
from swinv2_dense.measure.whole_model_case import WholeModelCase

__all__ = ["CARD", "DEFAULT", "cases"]


def cases() -> dict[str, Case]:
    sizes = [("tiny", 256, 8), ("tiny", 640, 40), ("tiny", 512, 32), ("tiny", 1024, 32), ("tiny", 1536, 32)]
    sizes += [("large", 1024, 32), ("large", 1536, 32)]
    found: list[Case] = []
    for arch, side, window in sizes:
        for train in (False, True):
            for dtype in DTYPES:
                name = f"{'training' if train else 'inference'}-{arch}-{side}-w{window}-{dtype}"
                found.append(BackboneCase(name, train, dtype, arch, side, window))
    found.append(BackboneCase("inference-tiny-256-w8-fp32-batch32", batch=32))
    for side, window in ((256, 8), (512, 32)):
        found.append(BackboneCase(f"export-tiny-{side}-w{window}-fp32", side=side, window=window, exported=True))
    found.append(BackboneCase("inference-video-tiny-224-fp32", side=224, window=0))
    htc = "coco/htc_without_semantic_swinv2_t"
    found += [
        WholeModelCase("htc-tiny-1100", config=htc, height=1120, width=1472),
        WholeModelCase("mask_rcnn-tiny-800", config="coco/mask_rcnn_swinv2_t", height=800, width=1088),
        WholeModelCase("upernet-tiny-640", config="ade20k/upernet_swinv2_t", height=640, width=640, window=20),
        WholeModelCase("htc-training-tiny-1024", train=True, config=htc, height=1024, width=1024),
        WholeModelCase("htc-training-large-1024-bf16", True, "bf16", htc.removesuffix("t") + "l", 1024, 1024),
    ]
    return {case.name: case for case in found}


# What `make bench` runs: the cases that the docs show.
DEFAULT = (
    "inference-tiny-256-w8-fp32",
    "inference-tiny-256-w8-fp32-batch32",
    "inference-tiny-640-w40-fp32",
    "inference-tiny-1024-w32-fp32",
    "training-tiny-640-w40-fp32",
    "training-tiny-1024-w32-fp32",
    "inference-tiny-640-w40-bf16",
    "training-tiny-640-w40-bf16",
    "inference-video-tiny-224-fp32",
    "htc-tiny-1100",
    "mask_rcnn-tiny-800",
    "upernet-tiny-640",
    "htc-training-tiny-1024",
)

# What `swinv2 bench --device cuda` runs, what is dearest last.
CARD = (
    *(f"{work}-{arch}-1024-w32-bf16" for arch in ("tiny", "large") for work in ("inference", "training")),
    "htc-training-large-1024-bf16",
    *(f"{work}-{arch}-1536-w32-bf16" for arch in ("tiny", "large") for work in ("inference", "training")),
)
