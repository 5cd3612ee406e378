"""What a model says about one image or clip: arrays, names, a drawing, and lines of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Classification", "Detections", "Reconstruction", "Result", "SegmentationMap", "image_id_of"]

# COCO's ids of its 80 categories have gaps.
_COCO_IDS = tuple(i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
_WORDS_FROM = 200  # pixels of the shorter side: on smaller images words would cover what they are about
_ENLARGED = 2000  # pixels, the longer side of a small image at most
_VEIL = 0.6  # opacity of the colours of a class map
_COCO_ENDS = ("person", "toothbrush")


def image_id_of(source: str) -> int | str:
    """The number that a file is named by, as COCO names its files; else the file's name."""
    stem = Path(source).stem
    return int(stem) if stem.isdecimal() else Path(source).name


@dataclass
class Result:
    """The prediction for one image.

    ``image``: uint8, H x W x 3, BGR; a video classifier's holds the frames, T x H x W x 3. ``source``: name of the
    file, or empty. ``image_id``: of JSON lines; None for :func:`image_id_of` the source. ``frame``: its number in a
    video. ``classes``: names of all classes; ``palette``: RGB of each.

    ``labels``: class indices, ``scores``: 0 to 1, ``boxes``: N x 4, x1 y1 x2 y2 in pixels, ``masks``: bool,
    N x H x W; None where the task has none. ``names``: the class of each label.
    """

    image: np.ndarray
    source: str = ""
    frame: int | None = None
    classes: Sequence[str] = ()
    palette: Sequence[Any] = ()
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    scores: np.ndarray | None = None
    boxes: np.ndarray | None = None
    masks: np.ndarray | None = None
    image_id: int | str | None = field(default=None, kw_only=True)

    @property
    def names(self) -> list[str]:
        return [self.name_of(label) for label in self.labels]

    def name_of(self, label: int) -> str:
        return self.classes[label] if 0 <= label < len(self.classes) else f"class {int(label)}"

    def __len__(self) -> int:
        return len(self.labels)

    def summary(self) -> str:
        """What was found, in a few words."""
        raise NotImplementedError

    def plot(self) -> np.ndarray:
        """The prediction drawn on the image: uint8, H x W x 3, BGR."""
        raise NotImplementedError

    def shrunk(self, side: int) -> Self:
        """The same on an image whose longer side has at most ``side`` pixels: large ones take long to draw."""
        height, width = self.image.shape[:2]
        scale = side / max(height, width)
        if self.image.ndim == 4 or scale >= 1:
            return self
        return self.resized(max(1, round(width * scale)), max(1, round(height * scale)))

    def enlarged(self) -> Self:
        """The same on an image that is large enough for words; clips as they are."""
        height, width = self.image.shape[-3:-1]
        times = 1 if self.image.ndim == 4 else _times(self.image)
        return self if times == 1 else self.resized(times * width, times * height)

    def resized(self, width: int, height: int) -> Self:
        """The same on an image of another size."""
        return replace(self, image=_resized(self.image, width, height))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`plot` as an image of the name's format.

        Raises:
            CannotWriteError: it cannot be written.
        """
        from swinv2_dense.files import write_image

        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_image(path, self.plot())

    def to_dicts(self) -> list[dict[str, Any]]:
        """What :meth:`to_json` writes, a dict for each line."""
        raise NotImplementedError

    def to_json(self) -> str:
        """JSON lines."""
        return "".join(f"{json.dumps(entry)}\n" for entry in self.to_dicts())

    def _about(self) -> dict[str, Any]:
        number = image_id_of(self.source) if self.image_id is None else self.image_id
        about = {"image_id": number, "file_name": self.source}
        return about if self.frame is None else about | {"frame": self.frame}

    def _rgb(self) -> np.ndarray:
        return np.ascontiguousarray(self.image[..., ::-1])

    def _colours(self) -> list[Any]:
        """A colour for each class: the data set's, else fixed ones."""
        count = max([len(self.classes), *(int(label) + 1 for label in self.labels)], default=1)
        if len(self.palette) >= count:
            return [tuple(colour) for colour in self.palette]
        return [tuple(map(int, colour)) for colour in np.random.default_rng(42).integers(40, 256, (count, 3))]


@dataclass
class Detections(Result):
    """Boxes, and masks where the model has them; the highest score first."""

    def above(self, score: float) -> Detections:
        """Those of this score and higher."""
        assert self.scores is not None
        assert self.boxes is not None
        kept = self.scores >= score
        masks = None if self.masks is None else self.masks[kept]
        return replace(self, labels=self.labels[kept], scores=self.scores[kept], boxes=self.boxes[kept], masks=masks)

    def resized(self, width: int, height: int) -> Self:
        assert self.boxes is not None
        scale = np.array([width / self.image.shape[1], height / self.image.shape[0]] * 2, np.float32)
        masks = self.masks
        if masks is not None:
            smaller = [_resized(mask.astype(np.uint8), width, height) for mask in masks]
            masks = np.array(smaller, bool).reshape(-1, height, width)
        return replace(super().resized(width, height), boxes=self.boxes * scale, masks=masks)

    def summary(self) -> str:
        counts: dict[str, int] = {}
        for name in self.names:
            counts[name] = counts.get(name, 0) + 1
        return ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"

    def to_dicts(self) -> list[dict[str, Any]]:
        """COCO's result format, an object each; ``category_id`` is COCO's for COCO's 80 classes, else the label + 1."""
        assert self.boxes is not None
        assert self.scores is not None
        ends = (self.classes[0], self.classes[-1]) if self.classes else ()
        official = len(self.classes) == len(_COCO_IDS) and ends == _COCO_ENDS
        masks = [None] * len(self) if self.masks is None else list(self.masks)
        entries = []
        for label, score, (x1, y1, x2, y2), mask in zip(
            self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), masks, strict=True
        ):
            entry = self._about() | {
                "category_id": _COCO_IDS[label] if official else label + 1,
                "category": self.name_of(label),
                "bbox": [round(value, 2) for value in (x1, y1, x2 - x1, y2 - y1)],
                "score": round(score, 5),
            }
            entries.append(entry if mask is None else entry | {"segmentation": _run_lengths(mask)})
        return entries

    def plot(self) -> np.ndarray:
        """By mmdet's visualizer; a mask has its class's colour, a little off so that neighbours differ. A truth, which
        has no scores, with its names alone."""
        import torch
        from mmdet.structures import DetDataSample
        from mmengine.structures import InstanceData

        from swinv2_dense.visualization.det_visualizer import DetVisualizer

        if not len(self):
            return self.image.copy()
        instances = InstanceData(bboxes=torch.as_tensor(self.boxes), labels=torch.as_tensor(self.labels))
        if self.masks is not None:
            instances.masks = torch.as_tensor(self.masks)
        visualizer = DetVisualizer()
        names = [self.name_of(i) for i in range(len(self._colours()))]
        visualizer.dataset_meta = {"classes": names, "palette": self._colours()}
        true = self.scores is None
        if not true:
            instances.scores = torch.as_tensor(self.scores)
        sample = DetDataSample(**{"gt_instances" if true else "pred_instances": instances})
        visualizer.add_datasample("", self._rgb(), sample, draw_gt=true, draw_pred=not true, pred_score_thr=0.0)
        return visualizer.drawn[..., ::-1].copy()


def _percent(share: float) -> str:
    return f"{share:.0%}" if share == 0 or share >= 0.01 else "<1%"


def _times(image: np.ndarray) -> int:
    """By how much an image (H x W x 3) is to be enlarged so that words fit on it."""
    shorter, longer = sorted(image.shape[:2])
    return max(1, min(-(-_WORDS_FROM // shorter), _ENLARGED // longer))


def _resized(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image as the eye sees it; of a map or a mask, H x W, single pixels."""
    import cv2

    how = cv2.INTER_NEAREST if image.ndim == 2 else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, (width, height), interpolation=how))


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask as coder

    encoded = coder.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")}


@dataclass
class SegmentationMap(Result):
    """``map``: class index of each pixel, H x W. ``labels``: the classes in it, the largest first; ``masks``: a
    mask of each; ``scores``: its share of the pixels."""

    map: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    @classmethod
    def of(cls, indices: np.ndarray, keep: Sequence[int] | None = None, **about: Any) -> SegmentationMap:
        """Of an index map; of ``keep``, if given, only these classes are listed."""
        labels, counts = np.unique(indices, return_counts=True)
        listed = [i for i in np.argsort(-counts, kind="stable") if keep is None or labels[i] in keep]
        return cls(
            **about,
            map=indices.astype(np.uint8 if indices.max(initial=0) < 256 else np.uint16),
            labels=labels[listed].astype(np.int64),
            scores=counts[listed] / max(1, indices.size),
            masks=indices[None] == labels[listed][:, None, None],
        )

    def resized(self, width: int, height: int) -> Self:
        smaller = _resized(self.map, width, height)
        masks = smaller[None] == self.labels[:, None, None]
        return replace(super().resized(width, height), map=smaller, masks=masks)

    def summary(self) -> str:
        assert self.scores is not None
        return ", ".join(f"{name} {_percent(share)}" for name, share in zip(self.names, self.scores, strict=True))

    def to_dicts(self) -> list[dict[str, Any]]:
        """One object, with the share of the pixels of each class."""
        assert self.scores is not None
        shares = {name: round(float(share), 5) for name, share in zip(self.names, self.scores, strict=True)}
        return [self._about() | {"classes": shares}]

    def plot(self) -> np.ndarray:
        """The classes' colours over the image, with a legend, small ones enlarged for it; classes that are not listed
        stay as they are."""
        from swinv2_dense.visualization.captions import write_legend

        large, colours = self.enlarged(), self._colours()
        drawn = large.image.copy()
        painted = np.isin(large.map, self.labels)
        bgr = np.array(colours, np.uint8)[large.map[painted], ::-1]
        drawn[painted] = drawn[painted] * (1 - _VEIL) + bgr * _VEIL
        write_legend(drawn, self.names, [colours[label] for label in self.labels])
        return drawn


@dataclass
class Classification(Result):
    """The most likely classes of an image or a clip, the likeliest first; ``probabilities``: of all classes."""

    probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @classmethod
    def of(
        cls, probabilities: np.ndarray, keep: Sequence[int] | None = None, top: int = 5, **about: Any
    ) -> Classification:
        """The ``top`` classes, of ``keep`` if given."""
        order = [i for i in np.argsort(-probabilities, kind="stable") if keep is None or i in keep][:top]
        labels = np.array(order, np.int64)
        return cls(**about, labels=labels, scores=probabilities[labels], probabilities=probabilities)

    def summary(self) -> str:
        assert self.scores is not None
        return ", ".join(f"{name} {score:.2f}" for name, score in zip(self.names[:3], self.scores, strict=False))

    def to_dicts(self) -> list[dict[str, Any]]:
        """One object: label, name and score of the likeliest, and the others in ``top``."""
        assert self.scores is not None
        ranked = [
            {"label": int(label), "name": name, "score": round(float(score), 5)}
            for label, name, score in zip(self.labels, self.names, self.scores, strict=True)
        ]
        return [self._about() | (ranked[0] if ranked else {}) | {"top": ranked}]

    def plot(self) -> np.ndarray:
        """The image, or eight frames of the clip, with the names; small ones enlarged, so that the names fit."""
        from swinv2_dense.visualization.captions import write_legend

        image = self.image
        if image.ndim == 4:
            chosen = np.linspace(0, len(image) - 1, min(8, len(image))).round().astype(int)
            image = np.concatenate(list(image[chosen]), axis=1)
        lines = self.names
        if self.scores is not None:
            lines = [f"{name} {score:.2f}" for name, score in zip(lines, self.scores, strict=True)]
        times = _times(image)
        drawn = image.repeat(times, axis=0).repeat(times, axis=1)
        write_legend(drawn, lines)
        return drawn


@dataclass
class Reconstruction(Result):
    """Of masked image modelling: ``masked``: what the model saw, grey where nothing; ``reconstruction``: the same with
    what it made of the rest; both as ``image``, which is what the pipeline cut out."""

    masked: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))
    reconstruction: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8))

    @classmethod
    def of(cls, sheet: np.ndarray, **about: Any) -> Reconstruction:
        """``sheet``: masked, reconstruction and image, side by side."""
        masked, made, image = np.split(sheet, 3, axis=1)
        return cls(**{**about, "image": image}, masked=masked, reconstruction=made)

    def resized(self, width: int, height: int) -> Self:
        masked, made = (_resized(image, width, height) for image in (self.masked, self.reconstruction))
        return replace(super().resized(width, height), masked=masked, reconstruction=made)

    def difference(self) -> float:
        """Mean absolute difference of the pixels that were masked, of 255."""
        hidden = (self.masked != self.image).any(axis=2)
        apart = np.abs(self.reconstruction.astype(np.float32) - self.image)
        return float(apart[hidden].mean()) if hidden.any() else 0.0

    def summary(self) -> str:
        return f"masked pixels differ by {self.difference():.1f} of 255"

    def to_dicts(self) -> list[dict[str, Any]]:
        """One object, with the difference."""
        return [self._about() | {"difference": round(self.difference(), 3)}]

    def plot(self) -> np.ndarray:
        """Masked, reconstruction and image, side by side."""
        return np.concatenate([self.masked, self.reconstruction, self.image], axis=1)
