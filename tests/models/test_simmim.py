"""SimMIM: targets and loss by plain recomputation, the token in masked places, checkpoints into and out of it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from torch import Tensor

from swinv2_dense.checkpoint import load_pretrained
from swinv2_dense.errors import UserError
from swinv2_dense.models import SimMIMHead, SimMIMSwinTransformerV2, SwinTransformerV2, VideoSwinTransformerV2
from swinv2_dense.models.simmim import masked_l1, norm_targets
from tests.checkpoint.makers import PRETRAINED, save, simmim
from tests.models.oracles import ARCH, randomize


def backbone(window: int = 4) -> SimMIMSwinTransformerV2:
    return randomize(SimMIMSwinTransformerV2(ARCH, window_size=window, out_indices=(3,)))


def plain_targets(images: Tensor, size: int) -> Tensor:
    """A neighbourhood at a time."""
    out = torch.empty_like(images, dtype=torch.float64)
    reach = size // 2
    for y in range(images.shape[2]):
        for x in range(images.shape[3]):
            around = images[:, :, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1].double()
            around = around.flatten(2)
            out[..., y, x] = (images[..., y, x].double() - around.mean(2)) / (around.var(2) + 1e-6).sqrt()
    return out


@pytest.mark.parametrize(("size", "shape"), [(47, (50, 61)), (5, (9, 4)), (3, (8, 8))])
def test_norm_targets_are_those_of_every_neighbourhood(size: int, shape: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 + 1
    torch.testing.assert_close(norm_targets(images, size).double(), plain_targets(images, size), atol=2e-4, rtol=1e-4)


def test_targets_of_flat_and_bright_images_stay_finite() -> None:
    flat = norm_targets(torch.full((1, 3, 64, 64), 2.64), 47)
    assert flat.abs().max() < 1e-2
    bright = torch.full((1, 3, 64, 64), 1000.0) + torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(norm_targets(bright, 47).double(), plain_targets(bright, 47), atol=2e-3, rtol=1e-3)
    with pytest.raises(UserError, match="norm_target=46"):
        norm_targets(flat, 46)


@pytest.mark.parametrize(("patch", "norm_target"), [(4, 47), ((2, 8), None), (4, 5)])
def test_the_loss_is_the_mean_over_masked_pixels_and_channels(patch: int, norm_target: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    target, pred = (torch.randn(2, 3, s, 32, generator=generator) for s in (24, 32))
    h, w = (patch, patch) if isinstance(patch, int) else patch
    mask = (torch.rand(2, 24 // h, 32 // w, generator=generator) < 0.6).long()
    wanted = target.double() if norm_target is None else plain_targets(target, norm_target)
    total, count = 0.0, 0
    for b in range(2):
        for y in range(24):
            for x in range(32):
                if mask[b, y // h, x // w]:
                    total += (pred[b, :, y, x].double() - wanted[b, :, y, x]).abs().sum().item()
                    count += 1
    loss = SimMIMHead(patch, norm_target).loss(pred, target, mask)
    assert loss.item() == pytest.approx(total / count / 3, rel=1e-4)


def test_nothing_masked_is_no_loss() -> None:
    assert masked_l1(torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4)) == 0


def test_images_of_normalised_targets_are_the_images() -> None:
    images = torch.rand(2, 3, 40, 56)
    head = SimMIMHead(4, 47)
    torch.testing.assert_close(head.images(norm_targets(images, 47), images), images, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_masked_patches_do_not_matter_and_others_do() -> None:
    model = backbone().eval()
    x = torch.randn(1, 3, 64, 96)
    mask = torch.zeros(1, 16, 24, dtype=torch.long)
    mask[:, 4:8, 8:12] = 1
    before = model(x, mask)[0]
    hidden = x.clone()
    hidden[..., 16:32, 32:48] = 7.0
    assert torch.equal(model(hidden, mask)[0], before)
    hidden[..., 15, 32] = 7.0
    assert not torch.equal(model(hidden, mask)[0], before)
    assert torch.equal(model(x, torch.zeros_like(mask))[0], model(x)[0])
    with pytest.raises(UserError, match=r"the mask is \(1, 4, 4\).*model_patch_size"):
        model(x, mask[:, :4, :4])


def test_the_token_learns() -> None:
    model = backbone()
    model(torch.randn(1, 3, 64, 64), torch.ones(1, 16, 16, dtype=torch.long))[0].square().sum().backward()
    assert model.mask_token.grad is not None and model.mask_token.grad.abs().sum() > 0


@pytest.mark.parametrize("by_state_dict", [True, False])
@torch.no_grad()
def test_its_checkpoint_loads_into_other_models_with_its_windows(by_state_dict: bool, tmp_path: Path) -> None:
    pretrained = backbone(window=4).eval()
    plain = SwinTransformerV2(ARCH, window_size=6, out_indices=(3,)).eval()
    if by_state_dict:
        plain.load_state_dict(pretrained.state_dict())
    else:
        content = {f"backbone.{k}": v for k, v in pretrained.state_dict().items()}
        content["neck.decoder.0.bias"] = torch.zeros(3072)
        torch.save({"state_dict": content, "meta": {}}, tmp_path / "epoch_1.pth")
        report = load_pretrained(plain, tmp_path / "epoch_1.pth")
        assert report.publisher == "ours" and not report.unexpected
        assert report.dropped["mask token"] == ["backbone.mask_token"]
        assert report.dropped["decoder"] == ["neck.decoder.0.bias"]
        video = VideoSwinTransformerV2(ARCH, window_size=(2, 4, 4))
        load_pretrained(video, tmp_path / "epoch_1.pth")
    assert plain.pretrained_window_size == ((4, 4),) * 4
    again = backbone(window=6).eval()
    again.load_state_dict(pretrained.state_dict())
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(x)[0], plain(x)[0])
    assert torch.equal(again.mask_token, pretrained.mask_token)


@torch.no_grad()
def test_the_authors_file_continues_with_its_token(tmp_path: Path) -> None:
    published = simmim()
    model = backbone(window=4).eval()
    report = load_pretrained(model, save(published, "simmim", tmp_path))
    assert report.publisher == "simmim" and not report.missing
    assert torch.equal(model.mask_token, published.state_dict["encoder.mask_token"])
    assert [w[0] for w in model.pretrained_window_size] == PRETRAINED


def test_weights_without_a_token_leave_a_new_one(tmp_path: Path) -> None:
    plain = SwinTransformerV2(ARCH, window_size=4, out_indices=(3,))
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    model = backbone()
    before = model.mask_token.clone()
    MMLogger.get_current_instance().setLevel(logging.INFO)
    report = load_pretrained(model, tmp_path / "plain.pth")
    assert report.missing == ["mask_token"]
    assert torch.equal(model.mask_token, before)
