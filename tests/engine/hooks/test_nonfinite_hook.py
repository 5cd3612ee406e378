"""A loss that is not finite: said in one line, dumped so that it can be computed again, and kept from the weights."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.structures import BaseDataElement
from torch import nn
from torch.utils.data import Dataset

from swinv2_dense.engine.hooks.nonfinite_hook import NonFiniteLossError, NonFiniteLossHook, read_dump, replay
from swinv2_dense.engine.runner.dense_runner import DenseRunner
from swinv2_dense.errors import UserError
from tests.tiny import mistake

BROKEN = (4, 5, 6, 7)  # samples, which are iterations 3 and 4 of one process with batches of 2


@DATASETS.register_module(force=True)
class SamplesWithHoles(Dataset):
    def __init__(self, broken: Sequence[int] = BROKEN) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = torch.full((4,), float(index))
        if index in self.broken:
            x[0] = float("nan")
        return {"inputs": x, "data_samples": BaseDataElement(metainfo=dict(img_path=f"{index}.jpg"))}


@MODELS.register_module(force=True)
class Fragile(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(4), nn.Linear(4, 1)

    def forward(self, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        out = self.linear(nn.functional.dropout(self.norm(torch.stack(inputs)), 0.5, self.training))
        return {"loss": out.square().mean(), "loss_parts": [out.mean(), out.mean()], "acc": torch.ones(1)}


class Watch(Hook):
    """State of the model after each iteration."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def after_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        self.states.append({name: t.clone() for name, t in runner.model.state_dict().items()})


def run(
    work_dir: Path, hook: dict[str, Any], launcher: str = "none", broken: Sequence[int] = BROKEN
) -> tuple[DenseRunner, Watch]:
    cfg = Config(
        dict(
            model=dict(type="Fragile"),
            work_dir=str(work_dir),
            launcher=launcher,
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type="DefaultSampler", shuffle=False),
                dataset=dict(type="SamplesWithHoles", broken=broken),
            ),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.1)),
            default_hooks=dict(checkpoint=None, nonfinite_loss=dict(type="swinv2_dense.NonFiniteLossHook", **hook)),
            env_cfg=dict(dist_cfg=dict(backend="gloo")),
            randomness=dict(seed=3),
            log_level="WARNING",
        )
    )
    runner, watch = DenseRunner.from_cfg(cfg), Watch()
    runner.register_hook(watch)
    runner.train()
    return runner, watch


@pytest.mark.usefixtures("clean_run")
def test_stops_before_the_weights_are_spoilt(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError) as stopped:
        run(tmp_path, {})
    folder = tmp_path / "nonfinite"
    dump, weights = folder / "iter_3_rank_0.pth", folder / "iter_3.pth"
    assert str(stopped.value) == (
        "loss not finite in iteration 3: loss nan, loss_parts nan; files 4.jpg, 5.jpg; "
        f"dump {dump}, weights {weights}: training stops"
    )
    assert sorted(folder.iterdir()) == sorted([dump, weights])
    state = torch.load(weights, weights_only=False)["state_dict"]
    assert state["linear.weight"].isfinite().all()


@pytest.mark.usefixtures("clean_run")
def test_skipped_updates_leave_no_trace(tmp_path: Path) -> None:
    runner, watch = run(tmp_path, dict(action="skip"))
    assert runner.iter == 6
    before, *during, after = watch.states[1:5]
    for state in during:
        assert all(torch.equal(state[name], before[name]) for name in before)
    assert after["linear.weight"].isfinite().all() and after["norm.running_mean"].isfinite().all()
    assert not torch.equal(after["linear.weight"], before["linear.weight"])
    assert sorted(p.name for p in (tmp_path / "nonfinite").iterdir()) == ["iter_3_rank_0.pth", "iter_4_rank_0.pth"]


@pytest.mark.usefixtures("clean_run")
def test_skips_have_a_limit(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"iteration 4: .*training stops after 1 that were skipped"):
        run(tmp_path, dict(action="skip", max_skips=1, save_weights=False))
    assert not (tmp_path / "nonfinite" / "iter_4.pth").exists()


@pytest.mark.usefixtures("clean_run")
def test_a_gradient_that_overflows_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Fragile, inputs: Any, data_samples: Any = None, mode: str = "tensor") -> Any:
        return {"loss": (self.linear.weight.nan_to_num() * 0).abs().sqrt().sum()}  # 0, the slope infinity times 0

    monkeypatch.setattr(Fragile, "forward", forward)
    _, watch = run(tmp_path, {})
    assert not watch.states[-1]["linear.weight"].isfinite().all()
    assert not (tmp_path / "nonfinite").exists()


@pytest.mark.usefixtures("clean_run")
def test_a_dump_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "nonfinite").write_text("a file where the folder should be")
    with pytest.raises(NonFiniteLossError, match=r"no dump, .*iter_3_rank_0.pth could not be written"):
        run(tmp_path, dict(save_weights=False))


def process(rank: int, port: int, folder: Path) -> None:
    where = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    os.environ.update({name: str(value) for name, value in where.items()})
    torch.set_num_threads(1)
    runner, watch = run(folder / "skip", dict(action="skip"), launcher="pytorch", broken=(4,))
    assert runner.iter == 3
    first, second, third = (state["module.linear.weight"] for state in watch.states)
    assert torch.equal(first, second) and not torch.equal(second, third) and third.isfinite().all()
    torch.save(third, folder / f"{rank}.pth")


def test_processes_agree_where_one_has_the_broken_batch(tmp_path: Path) -> None:
    """Sample 4 alone: of two processes that take every second sample the first has it, in iteration 2."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(process, args=(port, tmp_path), nprocs=2, start_method="fork")
    assert torch.equal(torch.load(tmp_path / "0.pth"), torch.load(tmp_path / "1.pth"))
    assert [p.name for p in (tmp_path / "skip" / "nonfinite").iterdir()] == ["iter_2_rank_0.pth"]


def test_detector_that_diverges_and_its_replay(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real run: with such a learning rate the first update throws the weights far away."""
    pytest.importorskip("mmdet", reason="needs the det extra")
    work_dir = tmp_path / "run"
    options = ["--cfg-options", "optim_wrapper.optimizer.lr=1e18", "optim_wrapper.clip_grad=None"]
    line = mistake("train", [str(config), "--work-dir", str(work_dir), *options], capsys)
    assert re.search(r"loss not finite in iteration 2: .*loss_rpn_cls .*files .*\.(jpg|png).*training stops", line), (
        line
    )
    dump = read_dump(work_dir / "nonfinite" / "iter_2_rank_0.pth")
    assert len(dump["batch"]["inputs"]) == len(dump["files"]) > 0
    masks = dump["batch"]["data_samples"][0].gt_instances.masks
    assert masks.height == dump["batch"]["inputs"][0].shape[1]

    model = MODELS.build(Config.fromfile(config).model)
    model.load_state_dict(torch.load(work_dir / "nonfinite" / "iter_2.pth", weights_only=False)["state_dict"])
    again = replay(work_dir / "nonfinite" / "iter_2_rank_0.pth", model)
    assert list(again) == list(dump["losses"])
    assert again == pytest.approx(dump["losses"], nan_ok=True)


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_other_files_are_no_dumps(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "dump.pth"
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="is no dump"):
        read_dump(path)


def test_dumps_name_no_other_classes(tmp_path: Path) -> None:
    path = tmp_path / "dump.pth"
    torch.save({"batch": {"class": "os.system"}, "generators": {}, "losses": {}}, path)
    with pytest.raises(UserError, match=r"os\.system.*not loaded"):
        read_dump(path)


def test_unknown_action_is_one_line() -> None:
    with pytest.raises(UserError, match="action='ignore' must be 'stop' or 'skip'"):
        NonFiniteLossHook(action="ignore")
