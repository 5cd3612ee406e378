"""Whole detectors and segmentors for ``swinv2 bench``: a config of ours, and the same model of mmdet or mmseg with
MMPretrain's backbone, from the image's bytes to the result."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from swinv2_dense.config_files import find_config
from swinv2_dense.cpu.convolution import fast_convolutions
from swinv2_dense.engine.optimizers.amp import backbone_in
from swinv2_dense.measure.benchmark import DTYPES, Case

__all__ = ["WholeModelCase"]

_OBJECTS = 12  # in the image that a detector is trained on
_SAME = 0.98  # IoU of boxes that are one


@dataclass(frozen=True)
class WholeModelCase(Case):
    """One image of ``height`` x ``width`` pixels through the model of ``config``. ``window``: 0 for the config's."""

    config: str = ""
    height: int = 0
    width: int = 0
    window: int = 0

    def peers(self, device: str = "cpu") -> tuple[str, ...]:
        return ("mmpretrain",)

    def build(self, implementation: str, device: str = "cpu") -> tuple[nn.Module, Callable[[], object]]:
        model = self.model(implementation, device)
        data = self._data(model, device)

        def step() -> None:
            with fast_convolutions(model) if implementation == "ours" else _roi_align_of_torchvision():
                with self._precision(model, device):
                    loss = self._forward(model, data)
                if loss is not None:
                    loss.backward()

        return model, step

    def _precision(self, model: nn.Module, device: str) -> AbstractContextManager[Any]:
        """What training in mixed precision does: of everything on a GPU, of the backbone on a CPU."""
        if self.dtype == "fp32":
            return nullcontext()
        return (
            torch.autocast(device, DTYPES[self.dtype]) if device == "cuda" else backbone_in(model, DTYPES[self.dtype])
        )

    def _forward(self, model: Any, data: dict[str, Any]) -> Tensor | None:
        data = copy.deepcopy(data)
        if self.train:
            loss: Tensor = model.parse_losses(model(**model.data_preprocessor(data, True), mode="loss"))[0]
            return loss
        model.test_step(data)
        return None

    def model(self, implementation: str, device: str = "cpu", **backbone: Any) -> Any:
        """The model of the config, or the same with MMPretrain's backbone; ``backbone``: settings of it."""
        from swinv2_dense.checks.config_source import read_config
        from swinv2_dense.inference.model_loading import get_model

        cfg = read_config(find_config(self.config))
        cfg.load_from = cfg.model.backbone.init_cfg = None
        cfg.model.backbone.update(backbone, with_cp=False)
        cfg.model.data_preprocessor.pop("batch_augments", None)  # which pad to the config's own size
        if self.window:
            cfg.model.backbone.window_size = self.window
        if implementation == "mmpretrain":
            import mmpretrain.models  # noqa: F401  registers it

            ours = cfg.model.backbone
            cfg.model.backbone = dict(
                type="mmpretrain.SwinTransformerV2",
                arch=ours.arch,
                img_size=(self.height, self.width),
                window_size=ours.window_size,
                drop_path_rate=ours.drop_path_rate,
                out_indices=(0, 1, 2, 3),
            )
        return get_model(cfg, device=device)

    def _data(self, model: Any, device: str) -> dict[str, Any]:
        """One image as a pipeline packs it: noise, with boxes and masks at random places."""
        size = self.height, self.width
        image = torch.randint(256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        meta = dict(img_shape=size, ori_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
        if hasattr(model, "decode_head"):
            from mmseg.structures import SegDataSample

            return dict(inputs=[image.to(device)], data_samples=[SegDataSample(metainfo=meta)])
        from mmdet.structures import DetDataSample

        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = self._objects().to(device)
        return dict(inputs=[image.to(device)], data_samples=[sample])

    def _objects(self) -> Any:
        from mmdet.structures.mask import BitmapMasks
        from mmengine.structures import InstanceData

        random = np.random.default_rng(0)
        corner = random.uniform(0, (0.7 * self.width, 0.7 * self.height), (_OBJECTS, 2))
        extent = random.uniform(16, (0.3 * self.width, 0.3 * self.height), (_OBJECTS, 2))
        boxes = np.concatenate([corner, corner + extent], 1).round()
        masks = np.zeros((_OBJECTS, self.height, self.width), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.astype(int), strict=True):
            mask[top:bottom, left:right] = 1
        return InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32),
            labels=torch.arange(_OBJECTS),
            masks=BitmapMasks(masks, self.height, self.width),
        )

    def flops(self, device: str = "cpu") -> int:
        model = self.model("ours", device).train(self.train)
        counter = FlopCounterMode(display=False)
        with counter, torch.set_grad_enabled(self.train):
            self._forward(model, self._data(model, device))
        return counter.get_total_flops()

    def error(self) -> float | None:
        """Of the scores of boxes that both find, infinite where one finds what the other does not; of the share of
        pixels in a segmentor's map. With one set of weights, and zeros where a window ends beyond the map, as
        MMPretrain has them."""
        if self.train:
            return None
        from swinv2_dense.checkpoint import load_pretrained

        torch.manual_seed(0)
        theirs = self.model("mmpretrain")
        for name, p in theirs.named_parameters():
            if "norm1" in name or "norm2" in name:
                nn.init.normal_(p, 0.5, 0.2)
            elif name.endswith(("fc_cls.weight", "rpn_cls.weight", "conv_seg.weight")):
                nn.init.normal_(p, std=0.1)
        ours = self.model("ours", pad_attention="zeros")
        heads = {name: p for name, p in theirs.state_dict().items() if not name.startswith("backbone.")}
        ours.load_state_dict(heads, strict=False)
        load_pretrained(ours.backbone, theirs.backbone.state_dict(), ours.backbone.window_size)
        data = self._data(ours, "cpu")
        with torch.no_grad():
            wanted = theirs.test_step(copy.deepcopy(data))[0]
            with fast_convolutions(ours):
                found = ours.test_step(data)[0]
        if "pred_sem_seg" in found:
            return (found.pred_sem_seg.data != wanted.pred_sem_seg.data).float().mean().item()
        return _of_scores(found.pred_instances, wanted.pred_instances)


@contextmanager
def _roi_align_of_torchvision() -> Iterator[None]:
    """What others have: not our kernel, which mmcv's operators call where mmcv is not compiled."""
    from swinv2_dense.cpu import roi_align

    takes = roi_align.kernel_takes
    roi_align.kernel_takes = lambda *_: False
    try:
        yield
    finally:
        roi_align.kernel_takes = takes


def _of_scores(found: Any, wanted: Any) -> float:
    from torchvision.ops import box_iou

    if len(found) != len(wanted):
        return float("inf")
    same = (box_iou(found.bboxes, wanted.bboxes) > _SAME) & (found.labels[:, None] == wanted.labels)
    apart = (found.scores[:, None] - wanted.scores).abs().where(same, torch.inf)
    return apart.amin(1).max().item()
