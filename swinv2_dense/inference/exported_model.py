"""A file of ``swinv2 export`` as a model that predicts: preparation and results are the libraries', the network's
outputs the file's."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export.detectors import paste
from swinv2_dense.export.loaded import ExportedModel

if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["FileModel", "file_model"]

# Whose normalisation a model has whose config names none.
_PREPROCESSORS = {"mmpretrain": "ClsDataPreprocessor"}


class FileModel(nn.Module):
    """What prediction asks of a model, computed by a file."""

    def __init__(self, exported: ExportedModel, cfg: Config) -> None:
        super().__init__()
        from mmengine.registry import MODELS, DefaultScope

        self.exported, self.cfg = exported, cfg
        settings = dict(cfg.model.get("data_preprocessor") or {})
        settings.setdefault("type", _PREPROCESSORS.get(cfg.default_scope, "BaseDataPreprocessor"))
        settings.pop("batch_augments", None)  # of training
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            self.data_preprocessor = MODELS.build(settings)

    def outputs(self, images: Tensor, sizes: Tensor | None = None) -> dict[str, Tensor]:
        found = self.exported(images.numpy(), None if sizes is None else sizes.numpy())
        return {name: torch.from_numpy(value) for name, value in found.items()}

    def problem(self, prepared: Any) -> str | None:
        """Why the file cannot take an entry that the pipeline made, or None."""
        size = self.exported.metadata.get("size")
        if size is None:
            return None
        inputs = prepared["inputs"]
        found = list((inputs[0] if isinstance(inputs, (list, tuple)) else inputs).shape[-2:])
        return None if self.fits(found, size) else self.refusal(found)

    def fits(self, found: list[int], size: list[int]) -> bool:
        return found == list(size)

    def refusal(self, found: Any, maker: str = "its pipeline") -> str:
        height, width = self.exported.metadata["size"]
        return (
            f"{maker} makes an image of {found[0]} x {found[1]} pixels, and {self.exported.source} takes "
            f"{height} x {width}: export with --size {found[0]} {found[1]}, or with --dynamic for any size"
        )

    def test_step(self, data: Mapping[str, Any]) -> list[Any]:
        data = self.data_preprocessor(data, False)
        return self.results(data["inputs"], data["data_samples"])

    def results(self, images: Tensor, samples: list[Any]) -> list[Any]:
        raise NotImplementedError


class _Classifier(FileModel):
    def results(self, images: Tensor, samples: list[Any]) -> list[Any]:
        return [SimpleNamespace(pred_score=scores) for scores in self.outputs(images)["scores"]]


class _Recogniser(FileModel):
    def results(self, images: Tensor, samples: list[Any]) -> list[Any]:
        views = images.shape[1]  # images: B x views x 3 x T x H x W
        wanted = self.exported.metadata.get("frames")
        if wanted is not None and images.shape[-3] != wanted:
            raise UserError(
                f"{self.exported.source} takes clips of {wanted} frames, and its pipeline makes {images.shape[-3]}"
            )
        scores = self.outputs(images.flatten(0, 1))["scores"].unflatten(0, (-1, views))
        average = _average_clips(self.cfg)
        if average == "prob" and self.exported.metadata.get("activation") == "none":
            scores = scores.softmax(-1)
        return [SimpleNamespace(pred_score=score) for score in (scores if average is None else scores.mean(1))]


def _average_clips(cfg: Config) -> str | None:
    """How the config's head makes one prediction of several clips."""
    average: str | None = (cfg.model.get("cls_head") or {}).get("average_clips")
    return average


class _Detector(FileModel):
    """Images smaller than the file's size are padded on the right and below, as in a batch of mmdet's, and their sizes
    go with them. ``pads``: not where the detector would take the padding for the image."""

    @property
    def pads(self) -> bool:
        return bool(self.exported.metadata.get("pads", True))

    def fits(self, found: list[int], size: list[int]) -> bool:
        return found[0] <= size[0] and found[1] <= size[1] if self.pads else super().fits(found, size)

    def refusal(self, found: Any, maker: str = "its pipeline") -> str:
        if not self.pads:
            return super().refusal(found, maker)
        size = self.exported.metadata["size"]
        multiple = getattr(self.data_preprocessor, "pad_size_divisor", 1)  # what mmdet's own padding makes
        both = " ".join(str(-(-max(a, b) // multiple) * multiple) for a, b in zip(found, size, strict=False))
        return (
            f"{maker} makes an image of {found[0]} x {found[1]} pixels, which does not fit into the {size[0]} x "
            f"{size[1]} of {self.exported.source}: export with --size {both}, which takes both"
        )

    def padded(self, images: Tensor, samples: list[Any]) -> Tensor:
        """To the file's size. The preprocessor's own padding may be larger than that."""
        size = self.exported.metadata.get("size")
        if size is None:
            return images
        for sample in samples:
            if not self.fits(list(sample.img_shape), size):
                raise UserError(self.refusal(sample.img_shape))
        missing = (0, size[1] - images.shape[-1], 0, size[0] - images.shape[-2])
        return F.pad(images, missing, value=getattr(self.data_preprocessor, "pad_value", 0))

    def results(self, images: Tensor, samples: list[Any]) -> list[Any]:
        if self.pads:
            sizes = torch.tensor([sample.img_shape[:2] for sample in samples], dtype=torch.float32)
            outputs = self.outputs(self.padded(images, samples), sizes)
        else:
            whole = [
                image[None, :, : s.img_shape[0], : s.img_shape[1]] for image, s in zip(images, samples, strict=True)
            ]
            found = [self.outputs(self.padded(one, [s]).contiguous()) for one, s in zip(whole, samples, strict=True)]
            outputs = {name: torch.cat([one[name] for one in found]) for name in found[0]}
        return [
            SimpleNamespace(pred_instances=self._instances({name: out[row] for name, out in outputs.items()}, sample))
            for row, sample in enumerate(samples)
        ]

    def _instances(self, outputs: Mapping[str, Tensor], sample: Any) -> Any:
        """In the original image's pixels; its masks as a model's, at its size."""
        from mmengine.structures import InstanceData

        found, boxes = outputs["labels"] >= 0, outputs["boxes"]
        boxes = boxes[found] / boxes.new_tensor(sample.scale_factor).repeat(2)
        instances = InstanceData(bboxes=boxes, scores=outputs["scores"][found], labels=outputs["labels"][found])
        if "masks" in outputs:
            threshold = self.cfg.model.test_cfg.rcnn.get("mask_thr_binary", 0.5)
            size = sample.ori_shape[:2]
            masks = torch.zeros((len(boxes), *size), dtype=torch.bool)
            for row, mask in enumerate(outputs["masks"][found]):  # one by one: they are as large as the image
                masks[row] = paste(mask[None], boxes[row : row + 1], *size)[0] >= threshold
            instances.masks = masks
        return instances


class _Queries(_Detector):
    """Mask2Former: masks and classes of its queries, of which mmdet's own head makes the instances."""

    def __init__(self, exported: ExportedModel, cfg: Config) -> None:
        super().__init__(exported, cfg)
        from mmengine.registry import MODELS, DefaultScope

        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            self.fusion_head = MODELS.build({**cfg.model.panoptic_fusion_head, "test_cfg": cfg.model.test_cfg})

    def results(self, images: Tensor, samples: list[Any]) -> list[Any]:
        images = self.padded(images, samples)
        outputs = self.outputs(images)
        masks = F.interpolate(outputs["mask_logits"], images.shape[-2:], mode="bilinear", align_corners=False)
        found = self.fusion_head.predict(outputs["class_logits"], masks, samples, rescale=True)
        return [SimpleNamespace(pred_instances=one["ins_results"]) for one in found]


def _detector(exported: ExportedModel, cfg: Config) -> FileModel:
    return (_Queries if "mask_logits" in exported.metadata.get("outputs", ()) else _Detector)(exported, cfg)


def _segmenter(exported: ExportedModel, cfg: Config) -> FileModel:
    from mmseg.models.segmentors import EncoderDecoder
    from mmseg.models.segmentors.base import BaseSegmentor

    class Whole(EncoderDecoder):
        """mmseg's, whole images or sliding windows, with the file in the place of its network."""

        def __init__(self, file: FileModel) -> None:
            BaseSegmentor.__init__(self)
            head = cfg.model.decode_head
            self.file, self.test_cfg = [file], cfg.model.test_cfg  # in a list: no module of it
            self.align_corners = head.get("align_corners", False)
            self.out_channels = head.get("out_channels") or head.num_classes
            threshold = exported.metadata.get("threshold", head.get("threshold"))
            self.decode_head = SimpleNamespace(threshold=0.3 if threshold is None else threshold)  # mmseg's default

        def encode_decode(self, inputs: Tensor, batch_img_metas: Any) -> Tensor:
            return self.file[0].outputs(inputs.contiguous())["logits"]

    class Segmenter(FileModel):
        def __init__(self) -> None:
            super().__init__(exported, cfg)
            self.whole = Whole(self)

        def problem(self, prepared: Any) -> str | None:
            size, test_cfg = exported.metadata.get("size"), cfg.model.test_cfg
            if test_cfg.get("mode") != "slide" or size is None:
                return super().problem(prepared)
            inputs = prepared["inputs"]
            found = (inputs[0] if isinstance(inputs, (list, tuple)) else inputs).shape[-2:]
            window = [min(pair) for pair in zip(test_cfg.crop_size, found, strict=True)]
            return None if window == list(size) else self.refusal(window, "the config's sliding window")

        def results(self, images: Tensor, samples: list[Any]) -> list[Any]:
            return list(self.whole.predict(images, samples))

    return Segmenter()


def file_model(exported: ExportedModel, cfg: Config) -> FileModel:
    """The file's model by its task.

    Raises:
        UserError: the file's task is none that predicts, or of another library than the config.
    """
    makers = {
        "classification": ("mmpretrain", _Classifier),
        "video": ("mmaction", _Recogniser),
        "detection": ("mmdet", _detector),
        "segmentation": ("mmseg", _segmenter),
    }
    task = exported.metadata.get("task")
    if task not in makers:
        raise UserError(f"{exported.source} gives {task}, not predictions: read it by swinv2_dense.export.load")
    scope, maker = makers[task]
    if cfg.default_scope != scope:
        raise UserError(f"{exported.source} does {task}, and the config is for a model of {cfg.default_scope}")
    if task == "video" and exported.metadata.get("activation") == "softmax" and _average_clips(cfg) != "prob":
        raise UserError(
            f"{exported.source} gives probabilities, and the config's model.cls_head.average_clips="
            f"{_average_clips(cfg)!r} takes logits: predict with the config that it was exported with"
        )
    return maker(exported, cfg).eval()
