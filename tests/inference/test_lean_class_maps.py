"""Class maps some classes at a time, against mmseg's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from swinv2_dense.inference import lean_class_maps as module
from swinv2_dense.inference.lean_class_maps import lean_class_maps

pytest.importorskip("mmseg")


def segmenter(threshold: float = 0.3) -> Any:
    from mmseg.models.segmentors.base import BaseSegmentor

    class Segmenter(BaseSegmentor):
        align_corners = False
        decode_head = nn.Identity()
        with_decode_head = with_auxiliary_head = True

        def extract_feat(self, inputs: Tensor) -> Any: ...
        def encode_decode(self, inputs: Tensor, batch_data_samples: Any) -> Any: ...
        def loss(self, inputs: Tensor, data_samples: Any) -> Any: ...
        def predict(self, inputs: Tensor, data_samples: Any = None) -> Any: ...
        def _forward(self, inputs: Tensor, data_samples: Any = None) -> Any: ...

    model = Segmenter()
    model.decode_head.threshold = threshold
    return model


def samples(*shapes: tuple[int, int], **meta: Any) -> list[Any]:
    from mmseg.structures import SegDataSample

    return [SegDataSample(metainfo=dict(ori_shape=shape, **meta)) for shape in shapes]


# bytes at a time: two classes, some, all
@pytest.mark.parametrize("at_once", [1, 4 * 30 * 40 * 4, 2**30])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"img_padding_size": [1, 2, 0, 3]},
        {"padding_size": [0, 2, 0, 3]},
        {"flip": True, "flip_direction": "horizontal"},
    ],
)
def test_the_map_is_mmsegs(at_once: int, classes: int, meta: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES", at_once)
    model, logits = segmenter(), torch.randn(2, classes, 12, 17)
    logits[:, :, :6, :6] = 0  # where many are the highest, the first counts
    wanted = model.postprocess_result(logits, samples((30, 40), (12, 17), **meta))
    with lean_class_maps(model):
        found = model.postprocess_result(logits, samples((30, 40), (12, 17), **meta))
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
        assert ("seg_logits" in one) == (classes < 3)
    assert "postprocess_result" not in vars(model)


def test_no_more_than_asked_for_is_enlarged_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES", 4 * 100 * 100 * 4)
    model, made = segmenter(), []
    mmsegs = type(model).__mro__[1].postprocess_result
    monkeypatch.setattr(
        type(model).__mro__[1],
        "postprocess_result",
        lambda self, logits, samples: made.append(logits.shape[1]) or mmsegs(self, logits, samples),
    )
    type(model).__mro__[1].postprocess_result.__module__ = "mmseg.models.segmentors.base"
    with lean_class_maps(model):
        model.postprocess_result(torch.randn(1, 9, 10, 10), samples((100, 100)))
    assert made == [4, 4, 2]


def test_others_are_as_they_are() -> None:
    class Own(type(segmenter())):  # type: ignore[misc]
        def postprocess_result(self, logits: Tensor, samples: Any = None) -> str:
            return "own"

    for model in (Own(), nn.Linear(2, 2)):
        with lean_class_maps(model):
            assert "postprocess_result" not in vars(model)
    model = segmenter()
    with lean_class_maps(model), pytest.raises(ZeroDivisionError):
        raise ZeroDivisionError
    with lean_class_maps(model):
        logits = torch.randn(1, 4, 3, 3)
        assert torch.equal(model.postprocess_result(logits)[0].seg_logits.data, logits[0])
