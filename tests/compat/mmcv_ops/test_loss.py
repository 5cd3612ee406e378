"""Focal losses against the paper's formula and autograd's gradients of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import swinv2_dense  # noqa: F401  offers the operators

pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.ops import sigmoid_focal_loss, softmax_focal_loss

CLASSES = 5
WEIGHT = torch.tensor([0.5, 1.0, 2.0, 3.0, 0.0])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("gamma", [2.0, 0.0, 1.5])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_sigmoid(reduction: str, gamma: float, weight: Tensor | None) -> None:
    logits = (torch.randn(7, CLASSES) * 3).requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 4, 5, 5])  # 5: background
    loss = sigmoid_focal_loss(logits, target, gamma, 0.25, weight, reduction)

    p = logits.sigmoid()
    own = torch.nn.functional.one_hot(target, CLASSES + 1)[:, :CLASSES].bool()
    p_t, alpha_t = torch.where(own, p, 1 - p), torch.where(own, torch.tensor(0.25), torch.tensor(0.75))
    expected = -alpha_t * (1 - p_t) ** gamma * p_t.log()
    if weight is not None:
        expected = expected * torch.cat([weight, torch.ones(1)])[target][:, None]
    expected = {"none": expected, "sum": expected.sum(), "mean": expected.sum() / 7}[reduction]
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(t.sum(), logits)[0] for t in (loss, expected)))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("gamma", [2.0, 1.0, 1.5])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_softmax(reduction: str, gamma: float, weight: Tensor | None) -> None:
    logits = torch.randn(6, CLASSES, requires_grad=True)
    target = torch.tensor([0, 1, 2, 3, 4, -1])  # -1: ignored
    loss = softmax_focal_loss(logits, target, gamma, 0.25, weight, reduction)

    p = logits.softmax(1)[torch.arange(6), target]
    expected = -0.25 * (1 - p) ** gamma * p.log() * (target >= 0)
    if weight is not None:
        expected = expected * weight[target]
    expected = {"none": expected, "sum": expected.sum(), "mean": expected.sum() / 6}[reduction]
    torch.testing.assert_close(loss, expected)
    if reduction == "none":  # mmcv multiplies N x C by N
        loss, expected = loss.sum(), expected.sum()
        return
    torch.testing.assert_close(*(torch.autograd.grad(t, logits)[0] for t in (loss, expected)))


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_extreme_logits_stay_finite(logit: float) -> None:
    logits = torch.full((2, CLASSES), logit, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([0, CLASSES]))
    (grad,) = torch.autograd.grad(loss, logits)
    assert loss.isfinite()
    assert grad.isfinite().all()
