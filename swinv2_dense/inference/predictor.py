"""One predictor for every task: ``Predictor("iter_360.pth")("street.jpg")``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from swinv2_dense.checks.channels import input_channels
from swinv2_dense.errors import UserError
from swinv2_dense.inference.decoding import decoder_of
from swinv2_dense.inference.model_loading import LoadedModel, is_exported, load_exported, load_model
from swinv2_dense.inference.pipelines import composed, entry, same_shape
from swinv2_dense.inference.results import Classification, Detections, Reconstruction, Result, SegmentationMap
from swinv2_dense.inference.sources import Item, expand, is_video, items
from swinv2_dense.inference.tiles import Tile, cut, is_number, is_whole, merge_boxes, owners
from swinv2_dense.inference.turns import evaluating, turn
from swinv2_dense.suggestions import did_you_mean
from swinv2_dense.visualization.image_names import displayed

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

__all__ = ["Predictor", "inference_model"]

DTYPES = ("float32", "bfloat16")
_MULTIPLE = ("detection", "segmentation")  # tasks that tiles make sense for


class Predictor:
    """Predicts with a trained model: objects and masks, class maps, classes of images or of clips.

    May be called by several threads at once; they take turns on the model, and on those of other predictors.

    Args:
        checkpoint: a ``.pth`` of a run, which needs nothing else; weights alone, with ``config``; a ``.onnx`` or
            ``.pt2`` that ``swinv2 export`` wrote of a run; or a model of :func:`get_model`, which may be in training.
        config: name or path of a config, or a config, in the place of the checkpoint's own.
        device: such as ``cuda:0`` (default: a GPU where there is one).
        window: tokens, in the place of the config's window.
        tta: test-time augmentation, by the config's ``tta_model``; by mirror images where it has none.
        score: detections below it are left out.
        classes: names, or one name; all others are left out.
        batch: images predicted together. Only images that the pipeline makes equally large are.
        tile: pixels; larger images are predicted in tiles of this side, and whole as well for detection.
        overlap: share of a tile's side that neighbours have in common.
        dtype: ``float32``, or ``bfloat16`` to have the backbone compute in it, as in training with ``--amp``.

    Raises:
        UserError: no such file, no config known, or an option that does not fit the model.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str] | nn.Module,
        config: str | os.PathLike[str] | Config | None = None,
        *,
        device: str | None = None,
        window: int | Sequence[int] | None = None,
        tta: bool = False,
        score: float = 0.3,
        classes: Sequence[str] | None = None,
        batch: int = 1,
        tile: int | None = None,
        overlap: float = 0.2,
        dtype: str = "float32",
    ) -> None:
        if not is_whole(batch) or batch < 1:
            raise UserError(f"batch {batch!r}: give a whole number of images from 1 on")
        if not is_number(score) or not 0 <= score <= 1:
            raise UserError(f"score {score!r}: give a number from 0 to 1")
        if type(tta) is not bool:
            raise UserError(f"tta {tta!r}: give True or False")
        if dtype not in DTYPES:
            raise UserError(f"dtype {dtype!r}: one of {', '.join(DTYPES)}")
        if isinstance(checkpoint, (str, os.PathLike)) and is_exported(checkpoint):
            if dtype != DTYPES[0]:
                raise UserError(f"dtype {dtype}: {checkpoint} computes as it was exported; predict with the checkpoint")
            self.loaded: LoadedModel = load_exported(checkpoint, config, device=device, window=window, tta=tta)
        else:
            self.loaded = load_model(checkpoint, config, device=device, window=window, tta=tta)
        self.task, self.dtype = self.loaded.task, dtype
        self.score, self.batch, self.tile, self.overlap = score, batch, tile, overlap
        self.keep = self._class_indices(classes)
        if tile is not None:
            if self.task not in _MULTIPLE:
                raise UserError(f"tiles are for detection and segmentation, and this model does {self.task}")
            cut(1, 1, tile, overlap)
        with turn():
            self._compose = composed(self.loaded)
        self._decoder = decoder_of(self.loaded.pipeline, input_channels(self.loaded.cfg))

    def __call__(self, source: Any) -> Any:
        """Predict.

        Args:
            source: an image or clip (a path, an array, uint8 BGR, or a PIL image): its result; a list of these: a list
                of results. A folder, a pattern, a video for a model of images, a camera's number as text, or any other
                iterable: an iterator of results, each predicted when it is asked for.

        Raises:
            UserError: something cannot be read.
        """
        if isinstance(source, (list, tuple)):
            return list(self.stream(source))
        if isinstance(source, (str, os.PathLike)) and not self._is_single(os.fspath(source)):
            expand(os.fspath(source))  # nothing there is a mistake now, not when the first result is asked for
            return self.stream(source)
        if isinstance(source, Iterable) and not isinstance(source, (str, os.PathLike, np.ndarray)):
            return self.stream(source)
        return next(self.stream(source))

    def _is_single(self, source: str) -> bool:
        return source == "-" or (os.path.isfile(source) and (self.task == "video" or not is_video(source)))

    def stream(self, source: Any, failed: Callable[[Item], object] | None = None) -> Iterator[Result]:
        """Results of a source or several, one after another.

        Args:
            failed: called with what cannot be read, which is then skipped; without it a UserError is raised.
        """
        for _, result in self.pairs(source, failed):
            yield result

    def pairs(self, source: Any, failed: Callable[[Item], object] | None = None) -> Iterator[tuple[Item, Result]]:
        """As :meth:`stream`, each with what it is the result of."""
        waiting: list[tuple[Item, Any]] = []
        for item in items(source, whole_videos=self.task == "video", decoder=self._decoder):
            prepared = None if item.problem else self._prepare(item)
            if item.problem:
                if failed is None:
                    raise UserError(item.problem)
                failed(item)
                continue
            if waiting and (len(waiting) == self.batch or not same_shape(waiting[0][1], prepared)):
                yield from self._flush(waiting)
                waiting = []
            waiting.append((item, prepared))
        yield from self._flush(waiting)

    def _flush(self, waiting: Sequence[tuple[Item, Any]]) -> Iterator[tuple[Item, Result]]:
        if not waiting:
            return
        if self.tile is not None:
            for item, _ in waiting:
                yield item, self._tiled(item)
            return
        outputs = self._forward([prepared for _, prepared in waiting])
        for (item, prepared), output in zip(waiting, outputs, strict=True):
            yield item, self._result(item, output, prepared)

    def _prepare(self, item: Item) -> Any:
        """What the pipeline makes of an item; notes in it what is wrong with a clip."""
        if self.tile is not None:
            return None
        if self.task != "video":
            return self._prepare_image(item)
        try:
            prepared = self._compose({"filename": item.path, "label": -1, "start_index": 0, "modality": "RGB"})
            item.problem = self._misfit(item, prepared)
            return prepared
        except (OSError, ValueError, RuntimeError) as error:
            item.problem = f"{item.path} cannot be decoded: {str(error).splitlines()[0]}"
            return None

    def _prepare_image(self, item: Item) -> Any:
        import cv2

        assert item.image is not None
        try:
            prepared = self._compose(entry(item.image, item.name))
        except cv2.error:  # one so narrow that nothing is left of it, for example
            size = " x ".join(map(str, item.image.shape[:2]))
            item.problem = f"{item.path or item.name}: the model's pipeline cannot prepare an image of {size} pixels"
            return None
        item.problem = self._misfit(item, prepared)
        return prepared

    def _misfit(self, item: Item, prepared: Any) -> str | None:
        """Why an exported file cannot take what the pipeline made; None of other models."""
        problem = self.loaded.misfit(prepared) if self.loaded.misfit is not None else None
        return f"{item.path or item.name}: {problem}" if problem else None

    def _forward(self, prepared: Sequence[Any]) -> list[Any]:
        import torch
        from mmengine.dataset import pseudo_collate
        from mmengine.registry import DefaultScope

        from swinv2_dense.cpu.convolution import fast_convolutions
        from swinv2_dense.inference.lean_class_maps import lean_class_maps

        model: Any = self.loaded.model
        with (
            turn(),
            evaluating(model),
            torch.inference_mode(),
            fast_convolutions(model),
            lean_class_maps(model),
            self._in_dtype(model),
            DefaultScope.overwrite_default_scope(self.loaded.scope),
        ):
            if self.task == "simmim":
                return _reconstructed(model, prepared)
            return list(model.test_step(pseudo_collate(list(prepared))))

    def _in_dtype(self, model: nn.Module) -> AbstractContextManager[None]:
        if self.dtype == DTYPES[0]:
            return nullcontext()
        import torch

        from swinv2_dense.engine.optimizers.amp import backbone_in

        return backbone_in(model, getattr(torch, self.dtype))

    def _result(self, item: Item, output: Any, prepared: Any) -> Result:
        about = self._about(item)
        if self.task == "detection":
            found = output.pred_instances
            masks = _array(found.masks).astype(bool) if "masks" in found else None
            arrays = (_array(found.bboxes), _array(found.scores), _array(found.labels))
            return self._detections(*arrays, masks, about)
        if self.task == "segmentation":
            return SegmentationMap.of(_array(output.pred_sem_seg.data)[0], self.keep, **about)
        if self.task == "simmim":
            return Reconstruction.of(output, **about)
        if self.task == "video":
            view = prepared["inputs"]
            about["image"] = _array(view[len(view) // 2]).transpose(1, 2, 3, 0)[..., ::-1].astype(np.uint8)
        scores = _array(output.pred_score).astype(np.float32)
        if scores.ndim == 2:  # a video head that does not average clips (average_clips=None): clips x classes
            scores = scores.mean(0)
        return Classification.of(scores, self.keep, **about)

    def _about(self, item: Item) -> dict[str, Any]:
        names = {"classes": self.loaded.classes, "palette": self.loaded.palette}
        image = item.image
        if image is not None and not self._decoder.colours:
            image = np.ascontiguousarray(displayed(image)[..., ::-1])
        return {"image": image, "source": item.path, "frame": item.frame, "image_id": item.image_id, **names}

    def _detections(
        self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, masks: np.ndarray | None, about: dict[str, Any]
    ) -> Detections:
        wanted = scores >= self.score
        if self.keep is not None:
            wanted &= np.isin(labels, self.keep)
        order = np.flatnonzero(wanted)
        order = order[np.argsort(-scores[order], kind="stable")]
        return Detections(
            **about,
            labels=labels[order].astype(np.int64),
            scores=scores[order].astype(np.float32),
            boxes=boxes[order].astype(np.float32),
            masks=None if masks is None else masks[order],
        )

    def _tiled(self, item: Item) -> Result:
        image = item.image
        assert image is not None
        assert self.tile is not None
        height, width = image.shape[:2]
        tiles = cut(height, width, self.tile, self.overlap)
        if self.task == "segmentation":
            maps = [part.map for part in self._parts(item, tiles)]
            owner, whole = owners(height, width, tiles), np.zeros((height, width), np.int64)
            for number, (tile, part) in enumerate(zip(tiles, maps, strict=True)):
                own = owner[tile.top : tile.bottom, tile.left : tile.right] == number
                whole[tile.top : tile.bottom, tile.left : tile.right][own] = part[own]
            return SegmentationMap.of(whole, self.keep, **self._about(item))
        # The whole image as well, in which objects larger than a tile are seen.
        tiles = tiles if len(tiles) == 1 else [*tiles, Tile(0, 0, width, height)]
        return self._merged(item, tiles, list(self._parts(item, tiles)))

    def _parts(self, item: Item, tiles: Sequence[Tile]) -> Iterator[Any]:
        assert item.image is not None
        images = [tile.of(item.image) for tile in tiles]
        prepared = [self._compose(entry(image, item.name)) for image in images]
        start = 0
        while start < len(tiles):
            end = start + 1
            while end < len(tiles) and end - start < self.batch and same_shape(prepared[start], prepared[end]):
                end += 1
            for image, one, output in zip(
                images[start:end], prepared[start:end], self._forward(prepared[start:end]), strict=True
            ):
                yield self._result(Item(item.name, item.output, image, item.path, item.frame), output, one)
            start = end

    def _merged(self, item: Item, tiles: Sequence[Tile], parts: Sequence[Detections]) -> Detections:
        assert item.image is not None
        shape = item.image.shape[:2]
        boxes: list[np.ndarray] = []
        scores: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        places: list[tuple[int, int]] = []
        for number, (tile, part) in enumerate(zip(tiles, parts, strict=True)):
            assert part.boxes is not None
            assert part.scores is not None
            boxes.append(part.boxes + np.array([tile.left, tile.top] * 2, np.float32))
            scores.append(part.scores)
            labels.append(part.labels)
            places += [(number, i) for i in range(len(part))]
        all_boxes, all_scores, all_labels = np.concatenate(boxes), np.concatenate(scores), np.concatenate(labels)
        kept = merge_boxes(all_boxes, all_scores, all_labels, [tiles[number] for number, _ in places], shape)
        masks = None
        if all(part.masks is not None for part in parts):
            masks = np.zeros((len(kept), *shape), bool)
            for row, index in enumerate(kept):
                number, i = places[index]
                tile, own = tiles[number], parts[number].masks
                assert own is not None
                masks[row, tile.top : tile.bottom, tile.left : tile.right] = own[i]
        return Detections(
            **self._about(item),
            labels=all_labels[kept],
            scores=all_scores[kept],
            boxes=all_boxes[kept],
            masks=masks,
        )

    def _class_indices(self, names: Sequence[str] | None) -> list[int] | None:
        if names is None:
            return None
        names = [names] if isinstance(names, str) else list(names)
        if not names:
            raise UserError("classes: give the name of one at least, or None for all")
        known = {name.lower(): index for index, name in enumerate(self.loaded.classes)}
        known |= {name: index for index, name in enumerate(self.loaded.classes)}  # Cat is another class than cat
        for name in names:
            if name not in known and str(name).lower() not in known:
                raise UserError(f"there is no class {name!r}: {did_you_mean(str(name).lower(), self.loaded.classes)}")
        return [known[name] if name in known else known[name.lower()] for name in names]


def inference_model(model: Any, source: Any, **options: Any) -> Any:
    """Predict once; takes for ``model`` and ``options`` what :class:`Predictor` takes, and returns what it returns."""
    return Predictor(model, **options)(source)


def _reconstructed(model: Any, prepared: Sequence[Any]) -> list[np.ndarray]:
    """Of each image: masked, reconstruction and image side by side, uint8, BGR."""
    from mmengine.dataset import default_collate

    from swinv2_dense.engine.hooks.reconstruction_hook import draw

    sheet = draw(model, default_collate(list(prepared)), len(prepared))
    return list(np.split(sheet, len(prepared), axis=0))


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)
