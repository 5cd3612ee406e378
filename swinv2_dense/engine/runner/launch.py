"""Training and testing from a config: what ``swinv2 train`` and ``swinv2 test`` call."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import broadcast_object_list, init_dist, is_distributed, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, METRICS

from swinv2_dense.checkpoint import read, read_meta
from swinv2_dense.checks import config as preflight
from swinv2_dense.checks.classes import check_trained, warn_of_other_input
from swinv2_dense.checks.dataset import leaf_datasets, semantic_leaf
from swinv2_dense.checks.options import options_of
from swinv2_dense.checks.schedule import check_counting
from swinv2_dense.checks.types import check_types
from swinv2_dense.cpu.convolution import fast_convolutions
from swinv2_dense.engine.optimizers.amp import backbone_in
from swinv2_dense.engine.runner import fast_dev_run as fast
from swinv2_dense.engine.runner.dense_runner import DenseRunner, join_on_cpu
from swinv2_dense.engine.runner.flexible_runner import DenseFlexibleRunner
from swinv2_dense.engine.strategies.choice import runner_for
from swinv2_dense.errors import UserError
from swinv2_dense.extras import missing
from swinv2_dense.files import make_out, writing
from swinv2_dense.inference.augmentation import augmentation
from swinv2_dense.inference.stored_config import config_of
from swinv2_dense.launcher import process_count

__all__ = [
    "evaluate",
    "once",
    "only_format",
    "resume",
    "scale_lr",
    "show_predictions",
    "train",
    "use_amp",
    "use_strategy",
    "use_tensorboard",
    "use_tta",
]


_T = TypeVar("_T")

_NORMALISING = ("mean", "std", "bgr_to_rgb", "rgb_to_bgr", "to_rgb")
# What draws the predictions, by the config's default_scope.
_DRAWING = {
    "mmdet": "swinv2_dense.DetectionsHook",
    "mmseg": "swinv2_dense.ClassMapsHook",
    "mmaction": "swinv2_dense.ClipStripsHook",
    "mmpretrain": "swinv2_dense.LabelledImagesHook",
}
# What writes the predictions, by the config's default_scope, where mmengine's own will not do.
_DUMPS = {"mmdet": "DumpDetResults", "mmseg": "swinv2_dense.DumpClassMaps"}


def train(
    cfg: Config, fast_dev_run: int | None = None, hooks: Sequence[Hook] = ()
) -> DenseRunner | DenseFlexibleRunner:
    """Train, validating as the config says; with ``fast_dev_run`` only so many iterations, and test as well.

    Args:
        hooks: further ones than the config's, for a caller that watches.

    Raises:
        UserError: a mistake in the config, the data or the environment, before anything is built where possible.
    """
    check_types(cfg, "train")
    check_counting(cfg)
    if fast_dev_run is not None:
        if fast_dev_run < 1:
            raise UserError(f"--fast-dev-run {fast_dev_run}: give a number of iterations from 1 on")
        fast.shorten(cfg, fast_dev_run)
    _fit_loaders(cfg)
    splits = ("train", "val") if fast_dev_run is None else ("train", "val", "test")
    preflight.check(cfg, splits, cut=fast_dev_run is not None)
    runner = runner_for(cfg).from_cfg(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    runner.train()
    if fast_dev_run is not None:
        if cfg.get("test_cfg"):
            runner.test()
        runner.logger.info("fast-dev-run: training, validation and test ran without a mistake")
    return runner


def evaluate(cfg: Config, checkpoint: str, out: str | None = None, dtype: str = "float32") -> dict[str, float]:
    """Evaluate ``checkpoint`` on the config's test data; returns the metrics.

    Args:
        out: a ``.pkl`` file for all predictions.
        dtype: ``bfloat16`` to have the backbone compute in it.

    Raises:
        UserError: as in training, or weights that are not this model's.
    """
    if out is not None and Path(out).suffix != ".pkl":
        raise UserError(f"--out {out}: predictions are written as .pkl")
    check_types(cfg, "test")
    cfg.update(load_from=checkpoint, resume=False)
    preflight.check_checkpoint(checkpoint, "the path of the weights to test")
    _fit_loaders(cfg)
    preflight.check(cfg, ("test",))
    _check_branch(cfg, checkpoint)
    runner = DenseRunner.from_cfg(cfg)
    _compare_with_training(cfg, checkpoint, runner.test_loop.dataloader.dataset.metainfo)
    in_dtype = nullcontext() if dtype == "float32" else backbone_in(runner.model, getattr(torch, dtype))
    with fast_convolutions(runner.model), in_dtype:
        if out is None:
            return runner.test()
        dump = {"type": _DUMPS.get(cfg.default_scope, "DumpResults")}
        with writing(out) if is_main_process() else nullcontext(out) as place:
            runner.test_evaluator.metrics.append(METRICS.build({**dump, "out_file_path": str(place)}))
            return runner.test()


def _compare_with_training(cfg: Config, checkpoint: str, metainfo: Mapping[str, Any]) -> None:
    """What the weights' file says of its training: classes, other in maps, and how images were normalised."""
    meta, key = read_meta(checkpoint), "test_dataloader.dataset"
    named = meta.get("dataset_meta") or {}
    check_trained(checkpoint, named.get("classes", named.get("CLASSES")), key, metainfo.get("classes"))
    if "reduce_zero_label" in named:
        warn_of_other_input(checkpoint, named, metainfo, key, ["reduce_zero_label"])
    with suppress(UserError):  # a config with code in it
        stored = config_of(str(meta.get("cfg") or ""), checkpoint).get("model") or {}
        trained, tested = (model.get("data_preprocessor") for model in (stored, cfg.model.get("module", cfg.model)))
        warn_of_other_input(checkpoint, trained, tested, "model.data_preprocessor", _NORMALISING)


def _check_branch(cfg: Config, checkpoint: str) -> None:
    """Weights of a model without HTC's semantic branch are another config's."""
    if "semantic_head" not in cfg.model.get("roi_head", {}):
        return
    if any("semantic_head" in name for name in read(checkpoint).state_dict):
        return
    raise UserError(
        f"{checkpoint} was trained without the semantic branch that this config has: test it with the config of the "
        f"same model without that branch, {semantic_leaf(cfg)}"
    )


def _fit_loaders(cfg: Config) -> None:
    """Without workers there are none to persist or to prefetch, which torch refuses instead of ignoring."""
    for split in ("train", "val", "test"):
        loader = cfg.get(f"{split}_dataloader")
        if isinstance(loader, dict) and not loader.get("num_workers"):
            loader.pop("persistent_workers", None)
            loader.pop("prefetch_factor", None)


def once(cfg: Config, work: Callable[[], _T]) -> _T:
    """What ``work`` returns, done by the first process of a launch; the others wait for it.

    Raises:
        UserError: ``work`` does, or the processes cannot meet; in every process.
    """
    preflight.check_processes(cfg)
    if process_count(cfg.launcher) == 1:
        return work()
    join_on_cpu(cfg.launcher, cfg.env_cfg.dist_cfg)
    if not is_distributed():
        init_dist(cfg.launcher, **cfg.env_cfg.dist_cfg)
    answer: list[Any] = [None]
    if is_main_process():
        try:
            answer = [work()]
        except UserError as error:
            answer = [error]
    broadcast_object_list(answer)
    if isinstance(answer[0], UserError):
        raise answer[0]
    result: _T = answer[0]
    return result


def use_amp(cfg: Config) -> None:
    """Mixed precision: float16 with loss scaling on a GPU; without one, bfloat16 in the backbone."""
    cfg.optim_wrapper.type = "AmpOptimWrapper" if torch.cuda.is_available() else "swinv2_dense.BackboneAmpOptimWrapper"


def use_tensorboard(cfg: Config) -> None:
    """Write losses, rates and metrics for TensorBoard too, into the run's ``vis_data``.

    Raises:
        UserError: TensorBoard is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401  what mmengine's backend writes with
    except ImportError as error:
        raise UserError(missing("--tensorboard", error, "tensorboard")) from error
    if cfg.get("visualizer") is None:  # mmengine's own, which writes scalars only
        cfg.visualizer = {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]}
    backends = list(cfg.visualizer.get("vis_backends") or ())
    if not any(backend["type"] == "TensorboardVisBackend" for backend in backends):
        cfg.visualizer.vis_backends = [*backends, {"type": "TensorboardVisBackend"}]


def use_strategy(cfg: Config, name: str, folder: Path) -> None:
    """Share the training among its processes as ``name`` says, one of the configs in ``folder``."""
    names = sorted(path.stem for path in folder.glob("*.py"))
    if name not in names:
        raise UserError(f"--strategy {name}: there are {', '.join(names)}")
    cfg.strategy = Config.fromfile(folder / f"{name}.py").strategy


def scale_lr(cfg: Config) -> None:
    """Scale the learning rate by the real batch size over ``auto_scale_lr.base_batch_size``."""
    if "base_batch_size" not in cfg.get("auto_scale_lr", {}):
        raise UserError(
            "--auto-scale-lr needs auto_scale_lr.base_batch_size in the config: the batch that its lr is for"
        )
    cfg.auto_scale_lr.enable = True


def resume(cfg: Config, checkpoint: str) -> None:
    """Resume from a checkpoint with its optimizer and schedule; 'auto' is the latest one in the work dir."""
    cfg.update(resume=True, load_from=None if checkpoint == "auto" else checkpoint)


def show_predictions(cfg: Config, show: bool, folder: str | None, wait_time: float) -> None:
    """Have every prediction painted on its image: in a window, or into ``folder``.

    Raises:
        UserError: the config's hook does not do that.
    """
    hook = (cfg.get("default_hooks") or {}).get("visualization")
    if hook is None:
        raise UserError("--show and --show-dir need default_hooks.visualization in the config")
    if wait_time < 0:
        raise UserError(f"--wait-time {wait_time:g}: give seconds from 0 on")
    with HOOKS.switch_scope_and_registry(cfg.get("default_scope")) as registry:
        cls = registry.get(hook.get("type", ""))
    if cls is not None and "draw" not in options_of(cls):
        ours = _DRAWING.get(str(cfg.get("default_scope")), "a hook with the options draw and test_out_dir")
        raise UserError(
            f"--show and --show-dir: default_hooks.visualization of type {hook.type} does not take them and would draw "
            f"nothing: take {ours}"
        )
    hook.update(draw=True, show=show, wait_time=wait_time)
    if folder is not None:
        make_out(Path(folder), "--show-dir")
        hook.test_out_dir = os.path.abspath(folder)


def only_format(cfg: Config, prefix: str) -> None:
    """Have the predictions written in COCO's result format, as its test server takes them, instead of evaluated."""
    evaluator = cfg.get("test_evaluator")
    if not isinstance(evaluator, dict) or evaluator.get("type") != "CocoMetric":
        raise UserError("--format-only writes COCO's result files: the config's test_evaluator is no CocoMetric")
    folder = os.path.dirname(os.path.abspath(prefix))
    if not os.path.isdir(folder):
        raise UserError(f"--format-only {prefix}: there is no folder {folder}; create it, or give another prefix")
    evaluator.update(format_only=True, outfile_prefix=os.path.abspath(prefix))


def use_tta(cfg: Config) -> None:
    """Test with the config's ``tta_model`` around its model, on images made by its ``tta_pipeline``; with mirror images
    where it has none.

    Raises:
        UserError: there is nothing to merge predictions with.
    """
    for _, dataset in leaf_datasets(cfg.test_dataloader.dataset, "test_dataloader.dataset"):
        merging, dataset.pipeline = augmentation(cfg, dataset.get("pipeline") or ())
    cfg.model = ConfigDict(**merging, module=cfg.model)
