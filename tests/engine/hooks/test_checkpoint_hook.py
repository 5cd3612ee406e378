"""Best checkpoints: by the metric that the config names, also where the run that is resumed had another."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swinv2_dense.engine.hooks.checkpoint_hook import SafeCheckpointHook
from swinv2_dense.errors import UserError


class Validated:
    """A runner whose validations save nothing but the best weights; ``info`` is what a checkpoint would keep."""

    def __init__(self, work_dir: Path, info: dict[str, Any], iteration: int = 1, **options: Any) -> None:
        hub = SimpleNamespace(runtime_info=info, get_info=info.__getitem__, update_info=info.__setitem__)
        quiet = SimpleNamespace(info=lambda *_: None, warning=lambda *_: None, error=lambda *_: None)
        self.runner: Any = SimpleNamespace(
            work_dir=str(work_dir), message_hub=hub, logger=quiet, starts_new_run=False, iter=iteration, epoch=0, rank=0
        )
        self.runner.save_checkpoint = lambda folder, filename, **_: Path(folder, filename).write_text("better")
        self.hook = SafeCheckpointHook(interval=-1, by_epoch=False, save_last=False, **options)
        self.hook.before_train(self.runner)

    def gives(self, **metrics: float) -> None:
        self.hook._save_best_checkpoint(self.runner, metrics)


def best(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.glob("best_*"))


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        (dict(save_best="acc5"), dict(save_best="acc1"), ["best_acc1_iter_2.pth", "best_acc5_iter_1.pth"]),
        (dict(save_best="auto"), dict(save_best="acc1"), ["best_acc1_iter_2.pth", "best_acc5_iter_1.pth"]),
        (dict(save_best="acc5"), dict(save_best="auto"), ["best_acc5_iter_1.pth"]),
    ],
)
def test_a_resumed_run_is_compared_with_scores_of_its_own_metric(
    tmp_path: Path, first: dict[str, Any], then: dict[str, Any], expected: list[str]
) -> None:
    info: dict[str, Any] = {}
    Validated(tmp_path, info, 1, **first).gives(acc5=0.9, acc1=0.3)
    Validated(tmp_path, info, 2, **then).gives(acc5=0.8, acc1=0.4)
    assert best(tmp_path) == expected


@pytest.mark.parametrize(("stopped", "saved"), [(True, ["iter_7.pth"]), (False, [])])
def test_the_last_state_of_a_training_that_stops_early_is_saved(
    tmp_path: Path, stopped: bool, saved: list[str]
) -> None:
    run = Validated(tmp_path, {}, 7, save_best="acc")
    run.hook.save_last = True
    run.runner.train_loop, run.runner.max_iters = SimpleNamespace(stop_training=stopped), 12
    for _ in range(2):  # once is enough
        run.hook.after_train(run.runner)
    assert [path.name for path in tmp_path.glob("*.pth")] == saved


@pytest.mark.parametrize("stopped", [True, False])
def test_what_is_saved_is_published_by_mmengine(tmp_path: Path, stopped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the config asks for it, by ``published_keys``."""
    published: list[str] = []
    monkeypatch.setattr(SafeCheckpointHook, "_publish_model", lambda self, runner, path: published.append(path))
    run = Validated(tmp_path, {}, 7, save_best="acc", published_keys=["state_dict"])
    run.gives(acc=0.5)
    run.hook.save_last = True
    run.runner.train_loop, run.runner.max_iters = SimpleNamespace(stop_training=stopped), 12
    run.hook.after_train(run.runner)
    assert [Path(path).name for path in published] == ["iter_7.pth"] * stopped + ["best_acc_iter_7.pth"]


def test_a_metric_that_the_validation_does_not_give_is_one_line(tmp_path: Path) -> None:
    run = Validated(tmp_path, {}, save_best="coco/bbox_map")
    with pytest.raises(
        UserError, match=r"save_best='coco/bbox_map' is no metric .* gives coco/bbox_mAP, coco/segm_mAP:"
    ):
        run.gives(**{"coco/bbox_mAP": 0.5, "coco/segm_mAP": 0.4})
    assert best(tmp_path) == []


def test_a_metric_of_which_nobody_knows_whether_more_is_better(tmp_path: Path) -> None:
    run = Validated(tmp_path, {}, save_best="auto")
    with pytest.raises(UserError, match=r"default_hooks\.checkpoint\.rule: .*f1-score.* 'greater' or 'less'"):
        run.gives(**{"f1-score": 0.5})
