"""The video backbone: shapes of odd clips, image weights inflated exactly, the image backbone in a thin dress."""

from __future__ import annotations

import math

import pytest
import torch

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.errors import UserError
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from tests.models.oracles import ARCH, randomize, relative_error


def small(**kwargs: object) -> VideoSwinTransformerV2:
    return randomize(VideoSwinTransformerV2(ARCH, **{"window_size": (2, 4, 4), **kwargs}))  # type: ignore


# usual, frame dropped, one frame, odd, portrait
CLIPS = [(8, 64, 64), (7, 64, 64), (1, 64, 64), (5, 61, 47), (4, 160, 48)]


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("patch", [(2, 4, 4), (1, 4, 4)])
@torch.no_grad()
def test_strides_and_widths_of_any_clip(clip: tuple[int, ...], patch: tuple[int, ...]) -> None:
    out = small(patch_size=patch)(torch.randn(1, 3, *clip))
    t, h, w = clip
    for i, feature in enumerate(out):
        stride = 4 * 2**i
        assert feature.shape == (1, 32 * 2**i, math.ceil(t / patch[0]), math.ceil(h / stride), math.ceil(w / stride))
        assert feature.isfinite().all()


def test_defaults_and_the_tensor_that_heads_take() -> None:
    model = VideoSwinTransformerV2(ARCH, out_indices=3)
    assert model.patch_size == (2, 4, 4)
    assert model.window_size == ((8, 8, 8),) * 4
    assert model(torch.randn(1, 3, 4, 32, 32)).shape == (1, 256, 2, 1, 1)


@pytest.mark.parametrize("frames", [1, 4, 7])
@pytest.mark.parametrize("window", [(2, 4, 4), (3, 6, 4), (8, 8, 8)])
@torch.no_grad()
def test_a_clip_of_identical_frames_gives_the_image_models_features(frames: int, window: tuple[int, int, int]) -> None:
    image_model = randomize(SwinTransformerV2(ARCH, window_size=window[1:], pretrained_window_size=5))
    model = VideoSwinTransformerV2(ARCH, window_size=window, patch_size=(1, 4, 4)).eval()
    report = load_pretrained(model, image_model.state_dict())
    assert model.pretrained_window_size == ((window[0], 5, 5),) * 4
    assert not report.missing
    image = torch.randn(2, 3, 72, 56)
    expected = image_model(image)
    for t in range(frames):
        clip = image[:, :, None].expand(-1, -1, frames, -1, -1)
        assert relative_error(tuple(f[:, :, t] for f in model(clip)), list(expected)) < 1e-4


@torch.no_grad()
def test_a_patch_of_two_frames_is_the_mean_of_both() -> None:
    image_model = randomize(SwinTransformerV2(ARCH, window_size=4))
    model = VideoSwinTransformerV2(ARCH, window_size=(2, 4, 4)).eval()
    load_pretrained(model, image_model.state_dict())
    image = torch.randn(1, 3, 64, 64)
    out = model(image[:, :, None].expand(-1, -1, 6, -1, -1))
    assert relative_error(tuple(f[:, :, 1] for f in out), list(image_model(image))) < 1e-4


@torch.no_grad()
def test_video_weights_reload_with_another_window_and_length() -> None:
    model = small()
    longer = VideoSwinTransformerV2(ARCH, window_size=(4, 6, 6)).eval()
    load_pretrained(longer, model.state_dict())
    assert longer.pretrained_window_size == ((2, 4, 4),) * 4
    assert longer(torch.randn(1, 3, 16, 64, 64))[3].shape == (1, 256, 8, 2, 2)
    same = small()
    same.load_state_dict(longer.state_dict())
    clip = torch.randn(1, 3, 6, 64, 64)
    assert relative_error(same(clip), list(model(clip))) < 1e-6


def test_image_weights_of_another_size_and_swin_v1_are_refused_by_name() -> None:
    other = SwinTransformerV2({**ARCH, "embed_dims": 64})
    with pytest.raises(UserError, match=r"patch_embed.*\(64.*\(32"):
        load_pretrained(small(), other.state_dict())
    v1 = {"backbone.layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(2 * 169, 1)}
    with pytest.raises(UserError, match="Swin"):
        load_pretrained(small(), v1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("clip", [(1, 64, 64), (5, 61, 47)])
def test_gradients_are_finite(clip: tuple[int, ...], dtype: torch.dtype) -> None:
    model = small().train()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = model(torch.randn(1, 3, *clip))
    sum(o.float().square().mean() for o in out).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_activations_computed_again_give_the_same_gradients() -> None:
    clip = torch.randn(1, 3, 4, 64, 48)
    gradients = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = small(with_cp=with_cp, drop_path_rate=0.0).train()
        sum(out.square().mean() for out in model(clip)).backward()  # type: ignore[union-attr]
        gradients.append([p.grad for p in model.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain)


def test_frozen_stages_learn_nothing() -> None:
    model = small(frozen_stages=2).train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    expected = ("patch_embed.", "layers.0.", "layers.1.", "norm0.", "norm1.")
    assert frozen == {name for name, _ in model.named_parameters() if name.startswith(expected)}
    assert not model.layers[1].training and model.layers[2].training
