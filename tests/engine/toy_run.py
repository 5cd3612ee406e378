"""Training runs of a toy in processes of their own, to be killed: augmented samples, drop path, batch norm, AdamW."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yapf.yapflib.yapf_api
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset

from swinv2_dense.cli import common as cli
from swinv2_dense.engine.runner import launch
from swinv2_dense.models import SwinTransformerV2
from tests.processes import forkserver

ITERATIONS, INTERVAL, BATCHES = 12, 4, 6  # in all, between checkpoints, in an epoch
VALIDATED = 3  # between validations


@DATASETS.register_module(force=True)
class ToyData(Dataset):
    """Samples that each of the three generators changes."""

    def __len__(self) -> int:
        return 2 * BATCHES

    def __getitem__(self, index: int) -> dict[str, Any]:
        noise = random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        pixels = torch.linspace(-1, 1, 3 * 16 * 16).view(3, 16, 16)
        return {"inputs": torch.sin(pixels * (1 + index % 3 + noise)), "data_samples": torch.tensor(index % 3)}


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        arch = dict(embed_dims=8, depths=(1, 1), num_heads=(1, 1))
        self.backbone = SwinTransformerV2(arch, window_size=2, drop_path_rate=0.5, out_indices=1)
        self.head = nn.Sequential(nn.BatchNorm2d(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        scores = self.head(self.backbone(torch.stack(inputs)))
        if mode == "loss":
            return {"loss": nn.functional.cross_entropy(scores, torch.stack(data_samples))}
        return [scores]


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(len(data_samples))

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        return {"samples": float(sum(results))}


def config(
    work_dir: Path,
    *,
    by_epoch: bool = False,
    workers: int = 0,
    resume: bool = False,
    validated: bool = False,
    averaged: bool = False,
) -> Config:
    """``validated``: after every VALIDATED iterations, by workers that stay. ``averaged``: of the weights, too."""
    loop = (
        dict(type="EpochBasedTrainLoop", max_epochs=ITERATIONS // BATCHES)
        if by_epoch
        else dict(type="IterBasedTrainLoop", max_iters=ITERATIONS)
    )
    validation = dict(
        val_dataloader=dict(
            batch_size=4,
            num_workers=workers,
            persistent_workers=workers > 0,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=dict(type="ToyData"),
        ),
        val_cfg=dict(),
        val_evaluator=dict(type="ToyMetric"),
    )
    if validated:
        loop["val_interval"] = VALIDATED
    return Config(
        dict(
            **(validation if validated else {}),
            model=dict(type="ToyModel"),
            work_dir=str(work_dir),
            train_dataloader=dict(
                batch_size=2,
                num_workers=workers,
                sampler=dict(type="DefaultSampler" if by_epoch else "InfiniteSampler"),
                dataset=dict(type="ToyData"),
            ),
            train_cfg=loop,
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.1)),
            param_scheduler=dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=ITERATIONS),
            default_hooks=dict(
                checkpoint=dict(
                    type="CheckpointHook", interval=1 if by_epoch else INTERVAL, by_epoch=by_epoch, max_keep_ckpts=1
                )
            ),
            custom_hooks=[dict(type="EMAHook", momentum=0.5)] if averaged else [],
            log_level="WARNING",
            resume=resume,
            experiment_name="toy",
        )
    )


class Diary(Hook):
    """Writes every loss down, and does something after an iteration."""

    def __init__(self, path: Path, act: tuple[int, Callable[[], object]] | None = None) -> None:
        self.path, self.act = path, act

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        with self.path.open("a") as file:
            file.write(f"{runner.iter + 1} {float(outputs['loss']).hex()}\n")
        if self.act is not None and self.act[0] == runner.iter + 1:
            self.act[1]()


class Validating(Hook):
    """Does something in the first iteration of the validation after iteration ``at``."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self.at, self.act = at, act

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if (runner.iter, batch_idx) == (self.at, 0):
            self.act()


def read_diary(path: Path) -> dict[int, float]:
    """iteration -> loss; of an iteration that was repeated, the later."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return {int(number): float.fromhex(loss) for number, loss in lines}


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate_group() -> None:
    """SIGTERM for every process of the run, workers included, from one outside of it, as SLURM sends it."""
    sender = f"import os, signal; os.killpg({os.getpgrp()}, signal.SIGTERM)"
    subprocess.run([sys.executable, "-S", "-c", sender], start_new_session=True, check=True)
    time.sleep(1)  # workers that it ends are noticed meanwhile


def interrupt_group() -> None:
    """Ctrl-C, which the terminal sends to every process of the run, workers included."""
    os.killpg(os.getpgrp(), signal.SIGINT)
    time.sleep(1)


def die_at(step: str) -> None:
    """From now on the process kills itself while it writes a checkpoint: at a named step."""
    if step == "half written":
        whole = torch.save

        def half(state: Any, file: Any) -> None:
            whole(state, file)
            file.truncate(file.tell() // 2)
            file.flush()
            kill_self()

        torch.save = half
        return
    # Path's own, as the paths of Python 3.10 hold the os.unlink that they found when they were imported
    owner, call, wanted = {
        "not renamed": (os, "replace", ".pth"),
        "not yet the last": (os, "replace", "last_checkpoint"),
        "older one still there": (Path, "unlink", ".pth"),
    }[step]
    real = getattr(owner, call)

    def fatal(*paths: Any, **options: Any) -> Any:
        if str(paths[-1]).endswith(wanted):
            kill_self()
        return real(*paths, **options)

    setattr(owner, call, fatal)


def limit_files(size: int) -> None:
    """Writing beyond so many bytes of a file fails, as it does on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def _train(cfg: Config, hooks: list[Hook], output: str) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    torch.set_num_threads(1)
    yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)  # it takes longer than the training
    sys.stdout = sys.stderr = open(output, "a", buffering=1)  # noqa: SIM115
    status = cli.run(lambda: launch.train(cfg, hooks=hooks))
    sys.stderr.flush()
    os._exit(status)


def run(cfg: Config, *hooks: Hook) -> tuple[int, str]:
    """Train in a process of its own; returns its exit status (-9: killed) and what it printed."""
    output = Path(cfg.work_dir).parent / f"output_{time.monotonic_ns()}.txt"
    process = forkserver.Process(target=_train, args=(cfg, list(hooks), str(output)))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode, output.read_text()
