"""A program that trains one real step of models on the CPU and prints how many bytes more were resident at its peak.

``python real_step.py backbone CONFIG`` takes the file's backbone alone, ``detector CONFIG`` all of it with its data.
"""

from __future__ import annotations

import copy
import gc
import json
import sys
from collections.abc import Callable

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from swinv2_dense.measure.benchmark import _memory
from swinv2_dense.planning.step import objective


def peak(model: nn.Module, loss: Callable[[], torch.Tensor]) -> int:
    loss().backward()  # the first time, libraries set up what they keep
    model.zero_grad()
    gc.collect()
    before = _memory("cpu", reset=True)
    loss().backward()
    return _memory("cpu", peak=True) - before


def backbone(cfg: Config, with_cp: bool, side: int) -> int:
    model = MODELS.build({**cfg.model.backbone, "with_cp": with_cp}).train()
    return peak(model, lambda: objective(list(model(torch.randn(1, 3, side, side)))))


def detector(cfg: Config, with_cp: bool) -> int:
    cfg.model.backbone.with_cp = with_cp
    model = MODELS.build(cfg.model).train()
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))

    def loss() -> torch.Tensor:
        data = model.data_preprocessor(copy.deepcopy(batch), True)
        return model.parse_losses(model(**data, mode="loss"))[0]

    return peak(model, loss)


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cfg = Config.fromfile(sys.argv[1])
    init_default_scope("mmdet")
    found = [backbone(cfg, with_cp, int(sys.argv[2])) for with_cp in (False, True)]
    found += [detector(cfg, with_cp) for with_cp in (False, True)]
    print(json.dumps(found))
