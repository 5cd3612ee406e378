"""A work dir belongs to one training at a time, knows its run, and keeps what others left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from swinv2_dense.engine.hooks.checkpoint_hook import SafeCheckpointHook
from swinv2_dense.engine.runner.resumable import _Start
from swinv2_dense.engine.runner.run_record import LAST, RunRecord, held, read_record, set_aside, write_record
from swinv2_dense.engine.runner.training_state import choose
from swinv2_dense.errors import UserError


def checkpoint(path: Path, iteration: int, run: str | None = None, **meta: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "meta": {"iter": iteration, "epoch": 0, **({"run_id": run} if run else {}), **meta},
        "state_dict": {"w": torch.ones(2)},
        "optimizer": {},
        "message_hub": {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}},
    }
    torch.save(state, path)
    return path


HOLDER = """
import sys, time, os
from swinv2_dense.engine.runner.run_record import held
with held(sys.argv[1]):
    if os.fork() == 0:  # as the workers of a data loader, which may outlive it
        time.sleep(20)
        os._exit(0)
    print("holds", flush=True)
    time.sleep(60)
"""


def test_one_training_at_a_time_and_a_dead_one_does_not_count(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"holds\n"
        with (
            pytest.raises(UserError, match=rf"in use by process {holder.pid} on .* since .*--work-dir"),
            held(tmp_path),
        ):
            pass
        holder.kill()
        holder.wait()
        with held(tmp_path):  # while its child still runs
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdout.close()


def test_one_process_holds_a_folder_once(tmp_path: Path) -> None:
    with held(tmp_path):
        (tmp_path / "b").symlink_to(tmp_path)
        with pytest.raises(UserError, match="another training of this process"), held(tmp_path / "b"):
            pass
    with held(tmp_path):
        pass


@pytest.mark.parametrize(
    "content", [b"", b"\xff\x00", b"[]", b'{"id": 3}', b'{"id": "a", "source": 1}', b"[" * 60000, b"3", b"x" * 100000]
)
def test_damaged_record_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    assert read_record(tmp_path) is None


def test_record_comes_back(tmp_path: Path) -> None:
    write_record(tmp_path, RunRecord("a", "b"))
    assert read_record(tmp_path) == RunRecord("a", "b")


class TestChoose:
    def test_newest_is_by_iteration_whatever_the_clock_said(self, tmp_path: Path) -> None:
        checkpoint(tmp_path / "iter_4.pth", 4, "a", time="20261025_025900")
        later = checkpoint(tmp_path / "iter_8.pth", 8, "a", time="20261025_020100")  # the end of summer time
        os.utime(later, (1, 1))
        assert choose(tmp_path) == later
        write_record(tmp_path, RunRecord("a"))
        assert choose(tmp_path) == later

    def test_only_the_run_that_was_started_last(self, tmp_path: Path) -> None:
        other = checkpoint(tmp_path / "iter_24.pth", 24, "a")
        (tmp_path / LAST).write_text(str(other))
        write_record(tmp_path, RunRecord("b"))
        with pytest.raises(UserError, match=r"has no checkpoint yet: .*--resume .*iter_24\.pth"):
            choose(tmp_path)
        own = checkpoint(tmp_path / "iter_4.pth", 4, "b")
        assert choose(tmp_path) == own

    def test_a_run_without_checkpoints_falls_back_to_what_it_was_resumed_from(self, tmp_path: Path) -> None:
        source = checkpoint(tmp_path / "other" / "iter_24.pth", 24, "a")
        write_record(tmp_path, RunRecord("b", str(source)))
        assert choose(tmp_path) == source

    def test_without_a_record_the_run_named_last(self, tmp_path: Path) -> None:
        checkpoint(tmp_path / "iter_24.pth", 24, "a")
        named = checkpoint(tmp_path / "iter_4.pth", 4, "b")
        (tmp_path / LAST).write_text(str(named))
        assert choose(tmp_path) == named

    @pytest.mark.parametrize("kind", ["random bytes", "a folder", "a named pipe", "long", "nothing there", "empty"])
    def test_damaged_last_checkpoint_does_not_matter(self, tmp_path: Path, kind: str) -> None:
        whole = checkpoint(tmp_path / "iter_4.pth", 4)
        last = tmp_path / LAST
        if kind == "a folder":
            last.mkdir()
        elif kind == "a named pipe":
            os.mkfifo(last)
        else:
            content = {
                "random bytes": b"\xff\xfe\x00\x80\n\x1b",
                "long": b"x" * 5000,
                "nothing there": b"/no/such.pth",
                "empty": b"",
            }
            last.write_bytes(content[kind])
        assert choose(tmp_path) == whole

    def test_named_pipe_among_the_checkpoints(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "iter_8.pth")
        whole = checkpoint(tmp_path / "iter_4.pth", 4)
        assert choose(tmp_path) == whole


class TestStart:
    def test_fresh_run_has_an_id_of_its_own(self, tmp_path: Path) -> None:
        first, second = (_Start.of(str(tmp_path), False, None) for _ in range(2))
        assert first.run.id != second.run.id and first.is_new
        assert read_record(tmp_path) == second.run

    def test_newest_checkpoint_of_the_run_continues_it_however_it_is_named(self, tmp_path: Path) -> None:
        write_record(tmp_path, RunRecord("a"))
        checkpoint(tmp_path / "iter_4.pth", 4, "a", seed=3)
        newest = checkpoint(tmp_path / "iter_8.pth", 8, "a", seed=3)
        for source in (None, str(newest)):
            start = _Start.of(str(tmp_path), True, source)
            assert start == _Start(RunRecord("a"), str(newest), 3, is_new=False)

    def test_older_checkpoint_begins_a_run_that_resumes_from_it(self, tmp_path: Path) -> None:
        write_record(tmp_path, RunRecord("a"))
        older = checkpoint(tmp_path / "iter_4.pth", 4, "a")
        checkpoint(tmp_path / "iter_8.pth", 8, "a")
        start = _Start.of(str(tmp_path), True, str(older))
        assert start.is_new and start.run.id != "a" and start.run.source == str(older)
        assert choose(tmp_path) == older  # also after a kill before its first checkpoint

    def test_checkpoint_of_another_folder_begins_a_run(self, tmp_path: Path) -> None:
        source = checkpoint(tmp_path / "a" / "iter_8.pth", 8, "a")
        start = _Start.of(str(tmp_path / "b"), True, str(source))
        assert start.is_new and start.run.id != "a"

    def test_folder_of_an_earlier_version(self, tmp_path: Path) -> None:
        source = checkpoint(tmp_path / "iter_8.pth", 8)
        start = _Start.of(str(tmp_path), True, None)
        assert not start.is_new and start.source == str(source)


def test_others_checkpoints_are_moved_and_the_users_files_stay(tmp_path: Path) -> None:
    for name in ("iter_4.pth", "epoch_1.pth", "best_acc_iter_4.pth", "interrupted.pth", "pretrained.pth", "a.log"):
        (tmp_path / name).write_text(name)
    (tmp_path / LAST).mkdir()
    assert set_aside(tmp_path, keep=str(tmp_path / "iter_4.pth")) == (
        tmp_path / "previous_1",
        ["best_acc_iter_4.pth", "epoch_1.pth", "interrupted.pth"],
    )
    assert {path.name for path in tmp_path.iterdir()} == {"iter_4.pth", "pretrained.pth", "a.log", "previous_1"}
    assert set_aside(tmp_path, keep=str(tmp_path / "iter_4.pth")) is None
    assert set_aside(tmp_path) == (tmp_path / "previous_2", ["iter_4.pth"])


class TestCheckpointsRemoveNothingElse:
    """What a resumed checkpoint says of files to remove is believed for its own run's files only."""

    def hook(self, tmp_path: Path, info: dict[str, Any], **options: Any) -> tuple[SafeCheckpointHook, Any]:
        work_dir = tmp_path / "work"
        work_dir.mkdir(exist_ok=True)
        hook = SafeCheckpointHook(interval=-1, by_epoch=False, **options)
        hub = SimpleNamespace(runtime_info=info, get_info=info.__getitem__, update_info=info.__setitem__)
        quiet = SimpleNamespace(info=lambda *_: None, warning=lambda *_: None, error=lambda *_: None)
        runner = SimpleNamespace(
            work_dir=str(work_dir), message_hub=hub, logger=quiet, starts_new_run=False, iter=7, epoch=0, rank=0
        )
        runner.model, runner.optim_wrapper = torch.nn.Linear(1, 1), None
        runner.save_checkpoint = lambda folder, filename, **_: Path(folder, filename).write_text("better")
        return hook, runner

    def better(self, hook: SafeCheckpointHook, runner: Any) -> None:
        hook.before_train(runner)
        hook._save_best_checkpoint(runner, {"acc": 0.9})

    def test_folder_named_as_the_best(self, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "thesis.tex").write_text("x")
        hook, runner = self.hook(
            tmp_path, {"best_ckpt": str(precious), "best_score": 0.5}, save_best="acc", rule="greater"
        )
        self.better(hook, runner)
        assert (precious / "thesis.tex").is_file()
        assert (tmp_path / "work" / "best_acc_iter_7.pth").read_text() == "better"

    def test_another_runs_best(self, tmp_path: Path) -> None:
        other = tmp_path / "other" / "best_acc_iter_4.pth"
        other.parent.mkdir()
        other.write_text("x")
        hook, runner = self.hook(
            tmp_path, {"best_ckpt": str(other), "best_score": 0.5}, save_best="acc", rule="greater"
        )
        self.better(hook, runner)
        assert other.is_file()

    def test_own_best_goes(self, tmp_path: Path) -> None:
        own = tmp_path / "work" / "best_acc_iter_4.pth"
        own.parent.mkdir()
        own.write_text("x")
        hook, runner = self.hook(tmp_path, {"best_ckpt": str(own), "best_score": 0.5}, save_best="acc", rule="greater")
        self.better(hook, runner)
        assert [path.name for path in own.parent.iterdir() if "best" in path.name] == ["best_acc_iter_7.pth"]

    def test_own_best_goes_in_a_work_dir_that_was_renamed(self, tmp_path: Path) -> None:
        own = tmp_path / "work" / "best_acc_iter_4.pth"
        own.parent.mkdir()
        own.write_text("x")
        info = {"best_ckpt": str(tmp_path / "before" / own.name), "best_score": 0.5}
        hook, runner = self.hook(tmp_path, info, save_best="acc", rule="greater")
        self.better(hook, runner)
        assert [path.name for path in own.parent.iterdir() if "best" in path.name] == ["best_acc_iter_7.pth"]

    @pytest.mark.parametrize("key", ["keep_ckpt_ids", "outdated_ckpt_ids"])
    @pytest.mark.parametrize("step", ["/../../precious", "4.pth/../../../precious", 4, True, None, -4])
    def test_steps_that_are_paths(self, tmp_path: Path, key: str, step: Any) -> None:
        for name in ("precious", "precious.pth"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "thesis.tex").write_text("x")
        folder = tmp_path / "work" / "iter_4.pth"
        folder.mkdir(parents=True)
        (folder / "thesis.tex").write_text("x")
        hook, runner = self.hook(tmp_path, {key: [step, 8, 12]}, max_keep_ckpts=1)
        hook.before_train(runner)
        assert len(list(tmp_path.rglob("thesis.tex"))) == 3

    @pytest.mark.parametrize("value", [None, 3, "abc", {"a": 1}])
    def test_steps_that_are_no_list(self, tmp_path: Path, value: Any) -> None:
        hook, runner = self.hook(tmp_path, {"keep_ckpt_ids": value, "outdated_ckpt_ids": value}, max_keep_ckpts=1)
        hook.before_train(runner)
        assert list(hook.keep_ckpt_ids) == []


def test_lock_says_since_when(tmp_path: Path) -> None:
    with held(tmp_path):
        assert time.strftime("%Y-%m-%d") in (tmp_path / "run.lock").read_text()
