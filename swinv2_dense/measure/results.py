"""The page of results: each config with the figures of its metafile, and its model's size and cost.

Needs the library of a config's task to count; writing the page needs none of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import Tensor, nn

from swinv2_dense.files import write_text
from swinv2_dense.measure.complexity import Complexity, complexity
from swinv2_dense.model_index import read_metafile
from swinv2_dense.planning import input_size
from swinv2_dense.planning.decoders import decoder_outputs, has_decoder, known_shapes
from swinv2_dense.planning.step import build, measure
from swinv2_dense.progress import Progress, silent

__all__ = ["activations", "count", "recount", "render"]

_TITLES = {
    "coco": "COCO",
    "ade20k": "ADE20K",
    "kinetics400": "Kinetics-400",
    "imagenet": "ImageNet",
    "simmim": "SimMIM",
}
_STATE_BYTES = 16  # a parameter's weight, gradient and AdamW's two moments, in fp32

_INTRODUCTION = """\
# Results

Written by `swinv2 results` from `configs/*/metafile.yml`; do not edit it here.

**Every score on this page is reported in the paper (arXiv 2111.09883) and not reproduced here.** The authors released
no detector, segmenter or video model of SwinV2. `none` means that the paper has no number for the config. Of ImageNet's
classifiers, which they did release, the numbers are those of MMPretrain's model zoo, and after SimMIM those of the
authors' `MODELHUB.md`; the addresses of the files are in `configs/{imagenet,simmim}/metafile.yml`.

- Input: one image in testing, height x width in pixels. COCO: an image of 480 x 640, the commonest size, at the
  config's test scale, padded; with several scales, the 1100 pixels of the single one. ADE20K: the same image, at the
  config's test scale. Kinetics-400: one view of a clip, frames first. ImageNet: the crop, or the whole image squeezed.
  SimMIM: the crop.
- Parameters: of the whole model.
- FLOPs: multiply-adds of one forward pass, in matrix products (those of attention included) and convolutions. Of
  two-stage detectors: backbone, neck, RPN and semantic branch, the box heads on every proposal and the mask heads on
  every detection, as many as `test_cfg` allows. Of DINO and Mask2Former: all but the sampling of deformable attention,
  which is no matrix product. Of SimMIM: the encoder's.
- State: weight, gradient and AdamW's two moments of every parameter, in fp32, which is 16 bytes each: what training
  holds besides its activations. ZeRO stage 1 spreads the moments, half of it, over the GPUs.
- Activations: an estimate of what a GPU holds besides the state, at the worst moment of training on one image or clip
  of the training input, in fp32, as the config stands; the configs of G compute activations again. Found by running the
  step without numbers, as `swinv2 plan` does, which also compares precisions and strategies; losses are left out.
"""


class _TwoStage(nn.Module):
    """What a two-stage detector computes for one image, with as many boxes as its test_cfg allows."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> None:
        head, proposals = self.detector.roi_head, self.detector.test_cfg.rpn.max_per_img
        features = self.detector.extract_feat(x)
        self.detector.rpn_head(features)
        if getattr(head, "with_semantic", False):
            head.semantic_head(features)
        for box_head in _stages(head.bbox_head):
            side = box_head.roi_feat_size
            box_head(x.new_empty(proposals, box_head.in_channels, *side))
        if head.with_mask:
            self._masks(x, head)

    def _masks(self, x: Tensor, head: Any) -> None:
        side = _stages(head.mask_roi_extractor)[0].roi_layers[0].output_size
        last = None
        for mask_head in _stages(head.mask_head):
            regions = x.new_empty(head.test_cfg.max_per_img, mask_head.in_channels, *side)
            if getattr(head, "mask_info_flow", False):
                _, last = mask_head(regions, last)
            else:
                mask_head(regions)


class _Whole(nn.Module):
    """Everything before post-processing."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.to("meta")  # some parameters are made by a constructor that knows no default device

    def forward(self, x: Tensor) -> None:
        if has_decoder(self.model):
            with known_shapes():
                decoder_outputs(self.model, x)
        else:
            self.model(x, mode="tensor")


def _stages(heads: Any) -> list[Any]:
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]


def count(config: str | os.PathLike[str], tested: tuple[int, ...]) -> Complexity:
    """Parameters and operations of a config's model for one input.

    Args:
        config: the file.
        tested: size of the input, with its batch axis; in pixels (and frames).
    """
    cfg = Config.fromfile(config)
    init_default_scope(cfg.default_scope)

    def build_part() -> nn.Module:
        model = MODELS.build(cfg.model)
        return _TwoStage(model) if hasattr(model, "rpn_head") else _Whole(model)

    return complexity(build_part, *tested)


def activations(config: str | os.PathLike[str]) -> tuple[tuple[int, ...], int]:
    """Size of one image or clip that a config trains on, and bytes of activations that a GPU holds for it at most."""
    cfg = Config.fromfile(config)
    size = input_size(cfg)
    peak = measure(build(cfg), size, batch=1, precision="fp32", device="cuda").peak(0)
    return size, peak.activations


def recount(path: Path, root: Path, progress: Progress = silent) -> None:
    """Count every model of a metafile again and write the file; ``root`` is what its config paths are relative to."""
    content = read_metafile(path)
    for done, model in enumerate(content["Models"]):
        progress(f"counting {model['Name']}", done, len(content["Models"]))
        metadata = model["Metadata"]
        counted = count(root / model["Config"], tuple(metadata["Input"]))
        size, held = activations(root / model["Config"])
        metadata.update(Parameters=counted.parameters, FLOPs=counted.flops // 2)
        metadata.update({"Training input": list(size), "Activations": held})
    write_text(path, yaml.safe_dump(content, sort_keys=False, width=120))


def render(metafiles: Iterable[Path]) -> str:
    """The page, in Markdown, with a table for each metafile."""
    parts = [_INTRODUCTION]
    for path in metafiles:
        content = read_metafile(path)
        rows = [_row(model) for model in content["Models"]]
        table = [
            f"## {_TITLES.get(path.parent.name, path.parent.name)}",
            "",
            "| config | reported in the paper | input | parameters | FLOPs | state | training input | activations |",
            "|---|---|---|---|---|---|---|---|",
            *rows,
        ]
        parts.append("\n".join(table) + "\n")
    return "\n".join(parts)


def _row(model: dict[str, Any]) -> str:
    metadata = model["Metadata"]
    scores = [
        f"{name} {value} ({result['Dataset']})"
        for result in model.get("Results") or []
        for name, value in result["Metrics"].items()
    ]
    cells = [
        f"`{model['Config']}`",
        "<br>".join(scores) or "none",
        " x ".join(str(side) for side in metadata["Input"] if side not in (1, 3)),
        f"{metadata['Parameters'] / 1e6:,.1f} M",
        f"{metadata['FLOPs'] / 1e9:,.0f} G",
        f"{metadata['Parameters'] * _STATE_BYTES / 2**30:,.1f} GiB",
        " x ".join(map(str, metadata["Training input"])),
        f"{metadata['Activations'] / 2**30:,.1f} GiB",
    ]
    return f"| {' | '.join(cells)} |"
