"""A run that is killed loses nothing: whatever it is doing, it resumes from its last whole checkpoint with the losses
of a run that was left alone. Each run here is a process, and those that are killed are killed by a signal.
"""

from __future__ import annotations

import functools
import logging
import os
import resource
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook

from swinv2_dense.checks import config as preflight
from swinv2_dense.engine.hooks.preemption_hook import INTERRUPTED_STATUS
from swinv2_dense.engine.hooks.randomness_hook import ReseededDataset
from swinv2_dense.engine.runner.training_state import read_training_state
from swinv2_dense.errors import UserError
from tests.engine.toy_run import (
    INTERVAL,
    ITERATIONS,
    VALIDATED,
    Diary,
    Validating,
    config,
    die_at,
    interrupt_group,
    kill_self,
    limit_files,
    read_diary,
    run,
    terminate_group,
)


@functools.cache
def _undisturbed(folder: Path, by_epoch: bool) -> dict[int, float]:
    cfg = config(folder / f"undisturbed_{by_epoch}", by_epoch=by_epoch)
    diary = folder / f"undisturbed_{by_epoch}.txt"
    cfg.randomness = dict(seed=3)
    status, output = run(cfg, Diary(diary))
    assert status == 0, output
    losses = read_diary(diary)
    assert len(set(losses.values())) == ITERATIONS
    return losses


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lasting")


class Run:
    """A run with seed 3, and the diary that its processes share."""

    def __init__(self, tmp_path: Path, folder: Path, *, by_epoch: bool = False, **options: Any) -> None:
        self.work_dir, self.diary = tmp_path / "work", tmp_path / "diary.txt"
        self.options = dict(by_epoch=by_epoch, **options)
        self.reference = _undisturbed(folder, by_epoch)

    def start(self, act: tuple | None = None, *hooks: Hook) -> tuple[int, str]:
        cfg = config(self.work_dir, **self.options)
        cfg.randomness = dict(seed=3)
        return run(cfg, Diary(self.diary, act), *hooks)

    def go_on(self) -> str:
        """Resume to the end. The seed is not given again: it is the checkpoint's."""
        status, output = run(config(self.work_dir, resume=True, **self.options), Diary(self.diary))
        assert status == 0, output
        assert read_diary(self.diary) == self.reference
        return output

    def resumed_at(self) -> int:
        numbers = [int(line.split()[0]) for line in self.diary.read_text().splitlines()]
        return next(later for earlier, later in pairwise(numbers) if later <= earlier) - 1


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_in_training(tmp_path: Path, folder: Path, workers: int) -> None:
    killed = Run(tmp_path, folder, workers=workers)
    assert killed.start((INTERVAL + 3, kill_self))[0] == -9
    killed.go_on()
    assert killed.resumed_at() == INTERVAL


STEPS = {"half written": 1, "not renamed": 1, "not yet the last": 2, "older one still there": 2}


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_a_checkpoint_is_written(tmp_path: Path, folder: Path, step: str) -> None:
    killed = Run(tmp_path, folder)
    assert killed.start((INTERVAL + 1, functools.partial(die_at, step)))[0] == -9
    named = Path((killed.work_dir / "last_checkpoint").read_text())
    assert named.is_file()
    assert len(read_diary(killed.diary)) == 2 * INTERVAL  # killed at the second checkpoint
    assert "damaged" not in killed.go_on()
    # with the second one whole, the run continues behind it and repeats nothing
    expected = list(range(1, 2 * INTERVAL + 1)) + list(range(STEPS[step] * INTERVAL + 1, ITERATIONS + 1))
    assert [int(line.split()[0]) for line in killed.diary.read_text().splitlines()] == expected
    assert [path.name for path in killed.work_dir.glob("*.pth")] == [f"iter_{ITERATIONS}.pth"]
    assert not list(killed.work_dir.glob(".*"))


@pytest.mark.parametrize(
    ("by_epoch", "at", "validated"), [(False, 6, False), (False, 5, True), (True, 3, False), (True, 6, False)]
)
def test_terminated(tmp_path: Path, folder: Path, by_epoch: bool, at: int, validated: bool) -> None:
    terminated = Run(tmp_path, folder, by_epoch=by_epoch, workers=2, validated=validated)
    status, output = terminated.start((at, terminate_group))
    assert status == INTERRUPTED_STATUS == 75
    assert f"saved after iteration {at}, continue by --resume" in output
    assert len(read_diary(terminated.diary)) == at
    terminated.go_on()
    numbers = [int(line.split()[0]) for line in terminated.diary.read_text().splitlines()]
    assert numbers == list(range(1, ITERATIONS + 1))  # nothing is trained on twice
    (left,) = terminated.work_dir.glob("*.pth")
    assert left.name == (f"epoch_{2}.pth" if by_epoch else f"iter_{ITERATIONS}.pth")


def _fill_disk_and_terminate() -> None:
    limit_files(40_000)
    terminate_group()


@pytest.mark.parametrize("at", [INTERVAL - 1, INTERVAL + 2])
def test_terminated_with_the_disk_full(tmp_path: Path, folder: Path, at: int) -> None:
    terminated = Run(tmp_path, folder)
    status, output = terminated.start((at, _fill_disk_and_terminate))
    assert status == 1
    assert "saved after" not in output and "training continues" not in output
    error = output.splitlines()[-1]
    assert error.startswith("error: SIGTERM: checkpoint ") and f"iter_{at}.pth could not be written" in error
    if at < INTERVAL:
        assert error.endswith("start from scratch, as there is no checkpoint yet")
        return
    assert error.endswith(f"resume from {terminated.work_dir / f'iter_{INTERVAL}.pth'} by --resume")
    terminated.go_on()
    assert terminated.resumed_at() == INTERVAL


def test_terminated_while_averaged_weights_are_validated(tmp_path: Path, folder: Path) -> None:
    terminated = Run(tmp_path, folder, validated=True, averaged=True)
    status, output = terminated.start(None, Validating(VALIDATED, terminate_group))
    assert status == INTERRUPTED_STATUS, output
    assert len(read_diary(terminated.diary)) == VALIDATED
    saved = read_training_state(str(terminated.work_dir / f"iter_{VALIDATED}.pth"))
    name = "head.3.weight"
    trained, averaged = saved["ema_state_dict"][f"module.{name}"], saved["state_dict"][name]
    assert not torch.equal(trained, averaged)
    terminated.go_on()


def test_what_hooks_set_is_the_data_sets_own() -> None:
    inner = SimpleNamespace(pipeline="first")
    data = ReseededDataset(inner, seed=3)
    data.pipeline, data.seed = "second", 4
    assert (inner.pipeline, data.pipeline, data.seed) == ("second", "second", 4)
    assert not hasattr(inner, "seed")


@pytest.mark.parametrize("damage", ["a byte changed", "cut off"])
def test_damaged_checkpoint(tmp_path: Path, folder: Path, damage: str) -> None:
    damaged = Run(tmp_path, folder)
    older = tmp_path / "older.pth"
    keep = functools.partial(os.link, damaged.work_dir / f"iter_{INTERVAL}.pth", older)
    assert damaged.start((2 * INTERVAL - 1, keep))[0] == 0
    last = damaged.work_dir / f"iter_{ITERATIONS}.pth"
    os.link(older, damaged.work_dir / f"iter_{INTERVAL}.pth")
    content = bytearray(last.read_bytes())
    content[content.index(b"data/0") + 200] ^= 1  # in the first tensor
    last.write_bytes(content[:-500] if damage == "cut off" else content)
    output = damaged.go_on()
    assert f"{last}: it is {'truncated' if damage == 'cut off' else 'damaged'}" in output
    assert damaged.resumed_at() == INTERVAL


def test_nothing_whole_to_resume_from(tmp_path: Path) -> None:
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    (work_dir / "iter_4.pth").write_bytes(b"PK\3\4 and no more")
    status, output = run(config(work_dir, resume=True))
    assert status == 1
    assert "error: --resume: " in output and "no whole checkpoint" in output


def test_disk_full_during_training(tmp_path: Path, folder: Path) -> None:
    full = Run(tmp_path, folder)
    status, output = full.start((INTERVAL + 1, functools.partial(limit_files, 40_000)))
    assert status == 1
    line = next(line for line in output.splitlines() if f"iter_{2 * INTERVAL}.pth could not be written" in line)
    assert f"iter_{INTERVAL}.pth is kept, and training continues" in line
    final = output.splitlines()[-1]
    assert final.startswith("error: ") and f"iter_{ITERATIONS}.pth could not be written" in final
    assert [path.name for path in full.work_dir.glob("*.pth")] == [f"iter_{INTERVAL}.pth"]
    assert read_diary(full.diary) == full.reference
    full.go_on()
    assert full.resumed_at() == INTERVAL


def test_no_room_is_told_before_training(tmp_path: Path) -> None:
    status, output = run(config(tmp_path / "work"), Full(tmp_path / "diary.txt"))
    assert status == 1
    last = output.splitlines()[-1]
    assert last.startswith("error: work_dir ") and "0.00 GB free" in last and "--work-dir" in last
    assert not (tmp_path / "diary.txt").exists()


def test_work_dir_that_takes_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match=r"work_dir .* cannot be written to \(File too large\): .*--work-dir"):
            preflight.check(config(tmp_path), ())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class NoRoomForLogs(Hook):
    """From an iteration on, the log's and the scalars' files are on a device that is always full."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter + 1 == self.at:
            for file in Path(runner.log_dir).rglob("*.json"):
                file.unlink()
                file.symlink_to("/dev/full")
            for handler in runner.logger.handlers:
                if isinstance(handler, logging.FileHandler):
                    handler.stream = open("/dev/full", "w")  # noqa: SIM115


class Full(Diary):
    """The disk has no room left when training begins."""

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        shutil.disk_usage = lambda path: SimpleNamespace(free=1000)


def test_fresh_run_keeps_what_another_left_and_resumes_itself_alone(tmp_path: Path, folder: Path) -> None:
    other = Run(tmp_path, folder)
    assert other.start()[0] == 0
    other.diary.unlink()
    again = Run(tmp_path, folder)
    status, output = again.start((INTERVAL - 1, kill_self))
    assert status == -9
    assert f"moved to {again.work_dir / 'previous_1'}" in output
    status, output = run(config(again.work_dir, resume=True))
    assert status == 1 and "holds no checkpoint to resume from" in output  # not another run's, with success
    assert (again.work_dir / "previous_1" / f"iter_{ITERATIONS}.pth").is_file()


def test_second_run_in_one_work_dir_is_refused(tmp_path: Path, folder: Path) -> None:
    first = Run(tmp_path, folder, workers=2)
    second = functools.partial(_start_second, first.work_dir, tmp_path / "second.txt")
    assert first.start((INTERVAL + 1, second))[0] == 0
    line = (tmp_path / "second.txt").read_text().splitlines()[-1]
    assert line.startswith(f"error: work_dir {first.work_dir} is in use by process ")
    assert read_diary(first.diary) == first.reference


def _start_second(work_dir: Path, output: Path) -> None:
    held = "from swinv2_dense.engine.runner.run_record import held\nimport sys\nwith held(sys.argv[1]): pass"
    program = f"from swinv2_dense.cli import common\ndef main():\n    {held.replace(chr(10), chr(10) + '    ')}\n"
    program += "sys_exit = common.run(main)\n"
    with output.open("w") as file:
        subprocess.run([sys.executable, "-c", program, str(work_dir)], stderr=file, check=False)


def test_disk_full_for_logs(tmp_path: Path, folder: Path) -> None:
    full = Run(tmp_path, folder)
    cfg = config(full.work_dir)
    cfg.update(randomness=dict(seed=3), log_level="INFO")
    cfg.default_hooks.logger = dict(type="LoggerHook", interval=1)
    status, output = run(cfg, Diary(full.diary), NoRoomForLogs(2))
    assert status == 0, output
    assert "Traceback" not in output
    for kind in ("what the visualizer records", "the log file"):
        assert output.count(f"error: {kind} cannot be written (No space left on device), and training continues") == 1
    assert read_diary(full.diary) == full.reference


def test_work_dir_removed_in_training(tmp_path: Path, folder: Path) -> None:
    removed = Run(tmp_path, folder)
    status, output = removed.start((INTERVAL + 1, functools.partial(shutil.rmtree, removed.work_dir)))
    assert status == 0, output
    assert "does not exist" not in output
    assert [path.name for path in removed.work_dir.glob("*.pth")] == [f"iter_{ITERATIONS}.pth"]


@pytest.mark.parametrize("at", [INTERVAL - 1, INTERVAL + 1])
def test_interrupted_by_the_keyboard(tmp_path: Path, folder: Path, at: int) -> None:
    interrupted = Run(tmp_path, folder, workers=2)
    status, output = interrupted.start((at, interrupt_group))
    assert status == 130
    assert "Traceback" not in output
    line = output.splitlines()[-1]
    assert line.startswith("training was interrupted after iteration ")
    saved = interrupted.work_dir / f"iter_{INTERVAL}.pth"
    assert line.endswith("there is no checkpoint yet" if at < INTERVAL else f"resume from {saved} by --resume")
