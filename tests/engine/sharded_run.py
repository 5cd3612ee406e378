"""Training of a tiny HTC by several processes on one machine, which meet as torchrun's do."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yapf.yapflib.yapf_api
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.utils import import_modules_from_strings

from swinv2_dense.cli import common as cli
from swinv2_dense.engine.runner import launch
from tests.processes import forkserver

STRATEGIES = Path(__file__).parents[2] / "configs" / "_base_" / "strategies"


class Losses(Hook):
    """Writes the losses of every iteration, one file a process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        losses = {name: float(value.detach()) for name, value in outputs.items()}
        with (self.folder / f"losses_{runner.rank}.jsonl").open("a") as file:
            file.write(json.dumps([runner.iter + 1, losses]) + "\n")


def read_losses(folder: Path, rank: int) -> dict[int, dict[str, float]]:
    return dict(json.loads(line) for line in (folder / f"losses_{rank}.jsonl").read_text().splitlines())


def _train(cfg: Config, environment: dict[str, str], output: str) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    import_modules_from_strings(**cfg.custom_imports)  # as reading the config did in the other process
    yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)  # it takes longer than the training
    sys.stdout = sys.stderr = open(output, "a", buffering=1)  # noqa: SIM115
    status = cli.run(lambda: launch.train(cfg, hooks=[Losses(Path(cfg.work_dir))]))
    sys.stderr.flush()
    os._exit(status)


def train(cfg: Config, processes: int) -> tuple[list[int], list[str]]:
    """Train in so many processes; returns the exit status and the output of each."""
    Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    environment = {}
    if processes > 1:
        cfg.launcher = "pytorch"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    started = []
    for rank in range(processes):
        output = tempfile.NamedTemporaryFile(dir=cfg.work_dir, suffix=".txt", delete=False).name  # noqa: SIM115
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)} if processes > 1 else {}
        process: Any = forkserver.Process(target=_train, args=(cfg, {**environment, **place}, output))
        process.start()
        started.append((process, output))
    for process, _ in started:
        process.join(240)
    return [process.exitcode for process, _ in started], [Path(output).read_text() for _, output in started]
