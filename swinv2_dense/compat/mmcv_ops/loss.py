"""Focal losses (Lin et al., 2017), elementwise, with their gradients in closed form.

In all four ``target`` holds N classes (int64), ``weight`` one number per class or nothing, and the last tensor is
written. Probabilities are clamped below by the smallest normal number of float32, as in mmcv, before their logarithm.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "sigmoid_focal_loss_backward",
    "sigmoid_focal_loss_forward",
    "softmax_focal_loss_backward",
    "softmax_focal_loss_forward",
]

TINY = torch.finfo(torch.float32).tiny


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """``output``, N x C, gets the losses of the logits ``input``, N x C. A target of C is background."""
    p, own = _sigmoid(input, target)
    positive = -alpha * (1 - p).pow(gamma) * p.clamp(min=TINY).log()
    negative = (alpha - 1) * p.pow(gamma) * (1 - p).clamp(min=TINY).log()
    output.copy_(torch.where(own, positive, negative) * _per_row(weight, target))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """``grad_input``, N x C, gets the derivative of each loss by its logit."""
    p, own = _sigmoid(input, target)
    q = 1 - p
    positive = -alpha * q.pow(gamma) * (q - gamma * p * p.clamp(min=TINY).log())
    negative = (alpha - 1) * p.pow(gamma) * (gamma * q * q.clamp(min=TINY).log() - p)
    grad_input.copy_(torch.where(own, positive, negative) * _per_row(weight, target))


def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """``output``, N, gets the losses of the probabilities ``input``, N x C. A negative target is ignored."""
    p = _of_target(input, target)
    loss = -alpha * (1 - p).pow(gamma) * p.clamp(min=TINY).log()
    output.copy_(loss * _per_row(weight, target)[:, 0] * (target >= 0))


def softmax_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, buff: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """``grad_input``, N x C, gets the derivative of each loss by the logits; ``buff``, N, what they have in common."""
    p = _of_target(input, target)
    q = 1 - p
    common = alpha * (gamma * q.pow(gamma - 1) * p * p.clamp(min=TINY).log() - q.pow(gamma))
    buff.copy_(common * _per_row(weight, target)[:, 0] * (target >= 0))
    own = torch.arange(input.shape[1], device=input.device) == target[:, None]
    grad_input.copy_(buff.float()[:, None] * (own.float() - input.float()))


def _sigmoid(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """N x C probabilities, and which of them are of their row's own class."""
    return input.float().sigmoid(), torch.arange(input.shape[1], device=input.device) == target[:, None]


def _of_target(probabilities: Tensor, target: Tensor) -> Tensor:
    return probabilities.float().gather(1, target.clamp(min=0)[:, None])[:, 0]


def _per_row(weight: Tensor, target: Tensor) -> Tensor:
    """N x 1: the weight of each row's target; 1 for background, which has none in the table."""
    if not weight.numel():
        return torch.ones(1, 1, device=target.device)
    table = torch.cat([weight.float(), weight.new_ones(1, dtype=torch.float32)])
    return table[target.where((target >= 0) & (target < len(weight)), len(weight))][:, None]
