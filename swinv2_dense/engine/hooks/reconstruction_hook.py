"""Images of what masked image modelling sees, makes of it, and should make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from swinv2_dense.files import write_image
from swinv2_dense.registry import HOOKS

__all__ = ["ReconstructionHook"]


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Draws ``reconstructions/iter_N.png`` in the work dir: a row an image, with the masked input, the reconstruction
    in the masked places, and the original.

    Args:
        interval: iterations.
        images: rows, at most the batch.
    """

    priority = "LOW"

    def __init__(self, interval: int = 1000, images: int = 8) -> None:
        self.interval, self.rows = interval, images

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        last = runner.iter + 1 == runner.max_iters
        if is_main_process() and ((runner.iter + 1) % self.interval == 0 or last):
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            path = Path(runner.work_dir, "reconstructions", f"iter_{runner.iter + 1}.png")
            write_image(path, draw(model, data_batch, self.rows))


@torch.no_grad()
def draw(model: Any, data_batch: dict[str, Any], rows: int) -> np.ndarray:
    """The sheet of images, uint8, H x W x 3, BGR. The model is left in the mode in which it was."""
    training = model.training
    model.eval()
    try:
        data = model.data_preprocessor(data_batch, False)
        images = data["inputs"][:rows]
        mask = torch.stack([sample.mask for sample in data["data_samples"][:rows]])
        made = model.head.images(model.neck(model.backbone(images, mask)[-1]), images)
    finally:
        model.train(training)
    hidden = model.head.pixel_mask(mask, images)[:, None]
    columns = [images * (1 - hidden), images * (1 - hidden) + made * hidden, images]
    sheet = torch.cat([_pixels(x, model.data_preprocessor) for x in columns], dim=3)  # B x 3 x H x 3W
    return np.ascontiguousarray(sheet.permute(0, 2, 3, 1).flatten(0, 1).cpu().numpy()[..., ::-1])


def _pixels(images: Tensor, preprocessor: Any) -> Tensor:
    """Normalised RGB -> uint8 RGB; grey, the mean, where nothing is."""
    return (images * preprocessor.std + preprocessor.mean).round().clamp(0, 255).byte()
