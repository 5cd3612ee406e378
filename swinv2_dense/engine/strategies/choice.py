"""Which of mmengine's runners a config's ``strategy`` asks for, and with what."""

from __future__ import annotations

import importlib.util
import sys

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process

from swinv2_dense.engine.runner.dense_runner import DenseRunner
from swinv2_dense.engine.runner.flexible_runner import DenseFlexibleRunner
from swinv2_dense.engine.strategies.zero_redundancy import shard_optimizer
from swinv2_dense.errors import UserError
from swinv2_dense.extras import install_command

__all__ = ["runner_for"]

_ON_RUNNER = ("DDPStrategy", "ZeroRedundancyStrategy")
_ON_FLEXIBLE_RUNNER = ("FullyShardedStrategy", "DeepSpeedZeroStrategy")


def runner_for(cfg: Config) -> type[DenseRunner] | type[DenseFlexibleRunner]:
    """The runner that trains by ``cfg.strategy``; what it takes from elsewhere in the config is put there.

    Data parallelism and ZeRO-1 are the ordinary runner's. FSDP and DeepSpeed need mmengine's flexible one. A single
    process has nothing to share: it trains by the ordinary runner whatever the strategy.

    Raises:
        UserError: no strategy, an unknown one, or one that is not installed.
    """
    strategy = cfg.get("strategy")
    if strategy is None:
        return DenseRunner
    if not isinstance(strategy, dict):
        raise UserError(f"strategy={strategy!r} is no dict: use --strategy NAME")
    kind = str(strategy.get("type")).rsplit(".", 1)[-1]
    if kind not in (*_ON_RUNNER, *_ON_FLEXIBLE_RUNNER):
        raise UserError(
            f"strategy.type={strategy.get('type')!r} is unknown: take one of configs/_base_/strategies "
            f"({', '.join((*_ON_RUNNER, *_ON_FLEXIBLE_RUNNER))})"
        )
    if kind == "DeepSpeedZeroStrategy" and importlib.util.find_spec("deepspeed") is None:
        raise UserError(f"this strategy needs deepspeed, which is not installed: {install_command('deepspeed')}")
    if cfg.get("launcher", "none") == "none":
        if kind != "DDPStrategy" and is_main_process():
            print(f"note: a single process has nothing to share by {kind}: it trains without", file=sys.stderr)
        return DenseRunner
    if kind in _ON_RUNNER:
        # mmengine reads the first only where there is no config for the wrapper
        unused = {"find_unused_parameters": cfg.get("find_unused_parameters", False)}
        cfg.model_wrapper_cfg = ConfigDict({**unused, **(strategy.get("model_wrapper") or {})})
        if kind == "ZeroRedundancyStrategy":
            cfg.optim_wrapper.optimizer = shard_optimizer(cfg.optim_wrapper.optimizer)
        return DenseRunner
    _refuse_averages(cfg, kind)
    cfg.strategy.sync_bn = cfg.get("sync_bn")  # of which mmengine's flexible runner knows nothing
    if kind == "DeepSpeedZeroStrategy":
        use_deepspeed(cfg)
    return DenseFlexibleRunner


def _refuse_averages(cfg: Config, kind: str) -> None:
    """mmengine's hook copies the model as one process has it, which is a part."""
    hooks = [*(cfg.get("custom_hooks") or ()), *(cfg.get("default_hooks") or {}).values()]
    if any(str((hook or {}).get("type")).rsplit(".", 1)[-1] == "EMAHook" for hook in hooks):
        raise UserError(
            f"EMAHook averages whole models, and {kind} spreads them: leave it out, or use --strategy zero1"
        )


def use_deepspeed(cfg: Config) -> None:
    """Put what mmengine's optimizer wrapper would do where DeepSpeed does it itself."""
    wrapper = cfg.optim_wrapper
    if (cfg.get("auto_scale_lr") or {}).get("enable"):
        raise UserError(
            "DeepSpeed's strategies scale no learning rate: leave --auto-scale-lr out, and set "
            "optim_wrapper.optimizer.lr"
        )
    if clip := wrapper.pop("clip_grad", None):
        cfg.strategy.gradient_clipping = clip["max_norm"]
    cfg.strategy.gradient_accumulation_steps = wrapper.pop("accumulative_counts", 1)
    if str(wrapper.get("type")).endswith("AmpOptimWrapper"):
        raise UserError("DeepSpeed has precisions of its own: instead of --amp, set strategy.mixed_precision")
    wrapper.type = "swinv2_dense.ZeroOptimWrapper"
    cfg.strategy.train_micro_batch_size_per_gpu = cfg.train_dataloader.batch_size
