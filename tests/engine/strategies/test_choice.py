"""Strategies: which runner a config gets and with what; blocks without storage; a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn
from torch.distributed.tensor import DTensor

from swinv2_dense.checks import config as preflight
from swinv2_dense.engine.runner import launch
from swinv2_dense.engine.runner.dense_runner import DenseRunner
from swinv2_dense.engine.runner.flexible_runner import DenseFlexibleRunner
from swinv2_dense.engine.strategies import choice as strategies
from swinv2_dense.engine.strategies.choice import runner_for
from swinv2_dense.engine.strategies.deepspeed_zero import DeepSpeedZeroStrategy
from swinv2_dense.engine.strategies.fully_sharded import FullyShardedStrategy, blocks_on_meta, materialise
from swinv2_dense.errors import UserError
from swinv2_dense.layers import SwinBlock
from swinv2_dense.models import SwinTransformerV2
from tests.tiny import tool

CONFIGS = Path(__file__).parents[3] / "configs"
STRATEGIES = CONFIGS / "_base_" / "strategies"
OPTIMIZER = dict(type="AdamW", lr=1e-3, weight_decay=0.05)


def strategy_config(name: str, launcher: str = "pytorch") -> Config:
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(OPTIMIZER)), launcher=launcher))
    launch.use_strategy(cfg, name, STRATEGIES)
    return cfg


def test_data_parallelism_and_zero1_are_the_ordinary_runner_s() -> None:
    cfg = strategy_config("ddp")
    assert runner_for(cfg) is DenseRunner
    assert cfg.model_wrapper_cfg.gradient_as_bucket_view
    assert cfg.optim_wrapper.optimizer == OPTIMIZER
    cfg = strategy_config("zero1")
    for _ in range(2):  # what a run dumps is a config that runs
        assert runner_for(cfg) is DenseRunner
        assert cfg.optim_wrapper.optimizer == {
            **OPTIMIZER,
            "type": "ZeroRedundancyOptimizer",
            "optimizer_type": "AdamW",
        }


@pytest.mark.parametrize("name", ["ddp", "zero1", "fsdp"])
def test_one_process_trains_by_itself(name: str) -> None:
    cfg = strategy_config(name, "none")
    assert runner_for(cfg) is DenseRunner
    assert cfg.optim_wrapper.optimizer == OPTIMIZER


def test_fsdp_is_the_flexible_runner_s() -> None:
    assert runner_for(strategy_config("fsdp")) is DenseFlexibleRunner


def test_deepspeed_scales_no_learning_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategies.importlib.util, "find_spec", lambda name: name)
    cfg = strategy_config("deepspeed_zero2")
    cfg.update(auto_scale_lr=dict(enable=True, base_batch_size=16), train_dataloader=dict(batch_size=1))
    with pytest.raises(UserError, match=r"leave --auto-scale-lr out, and set optim_wrapper\.optimizer\.lr"):
        runner_for(cfg)


def test_averaged_weights_need_whole_models() -> None:
    cfg = strategy_config("fsdp")
    cfg.custom_hooks = [dict(type="mmengine.EMAHook", momentum=0.1)]
    with pytest.raises(UserError, match="EMAHook averages whole models, and FullyShardedStrategy spreads them"):
        runner_for(cfg)
    zero1 = strategy_config("zero1")
    zero1.custom_hooks = cfg.custom_hooks
    assert runner_for(zero1) is DenseRunner


@pytest.mark.parametrize("name", ["ddp", "zero1"])
def test_unused_parameters_are_looked_for_where_the_config_says_so(name: str) -> None:
    cfg = strategy_config(name)
    runner_for(cfg)
    assert not cfg.model_wrapper_cfg.find_unused_parameters
    cfg.find_unused_parameters = True
    runner_for(cfg)
    assert cfg.model_wrapper_cfg.find_unused_parameters
    cfg.strategy.model_wrapper.find_unused_parameters = False  # the wrapper's own is the nearer
    runner_for(cfg)
    assert not cfg.model_wrapper_cfg.find_unused_parameters


@pytest.fixture
def alone_in_a_group(tmp_path: Path) -> Iterator[None]:
    """This process is a process group of its own."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone_in_a_group", "clean_run")
@pytest.mark.parametrize(("sync_bn", "kind"), [("torch", nn.SyncBatchNorm), (None, nn.BatchNorm2d)])
def test_fsdp_turns_batch_norm_into_one_over_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync_bn: str | None, kind: type[nn.Module]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("LOCAL_RANK", "0")
    cfg = strategy_config("fsdp")
    cfg.update(sync_bn=sync_bn)
    cfg.strategy.mixed_precision = None
    runner_for(cfg)
    options = {key: value for key, value in cfg.strategy.items() if key != "type"}
    strategy = FullyShardedStrategy(work_dir=str(tmp_path), **options)
    model = strategy._wrap_model(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4))))
    (norm,) = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert type(norm) is kind
    assert all(isinstance(param, DTensor) for param in norm.parameters())


def test_deepspeed_turns_batch_norm_into_one_over_all_processes() -> None:
    cfg = strategy_config("deepspeed_zero1")
    cfg.update(sync_bn="torch", train_dataloader=dict(batch_size=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strategies.importlib.util, "find_spec", lambda name: name)
        runner_for(cfg)
    assert cfg.strategy.sync_bn == "torch"
    strategy = object.__new__(DeepSpeedZeroStrategy)  # building one needs deepspeed
    strategy.dtype, strategy.sync_bn = None, cfg.strategy.sync_bn
    model = strategy._init_model_weights(nn.Sequential(nn.BatchNorm2d(4)))
    assert isinstance(next(model.children()), nn.SyncBatchNorm)


def test_mistakes() -> None:
    for launcher in ("none", "pytorch"):
        with pytest.raises(UserError, match="strategy='fsdp' is no dict: use --strategy NAME"):
            runner_for(Config(dict(strategy="fsdp", launcher=launcher)))
    with pytest.raises(UserError, match=r"--strategy zero: there are .*ddp, .*zero1"):
        launch.use_strategy(Config(), "zero", STRATEGIES)
    with pytest.raises(UserError, match=r"strategy\.type='ColossalAIStrategy' is unknown"):
        runner_for(Config(dict(strategy=dict(type="ColossalAIStrategy"))))
    with pytest.raises(UserError, match="deepspeed, which is not installed"):
        runner_for(Config(dict(strategy=dict(type="swinv2_dense.DeepSpeedZeroStrategy"))))
    with pytest.raises(UserError, match="'bloat16' is no floating-point dtype"):
        FullyShardedStrategy(mixed_precision="bloat16")


@pytest.mark.parametrize("model", [dict(neck=dict(norm_cfg=dict(type="SyncBN"))), dict(sync_bn="torch")])
def test_batch_norm_over_processes_without_gpus(model: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    cfg = Config(
        dict(
            work_dir=str(tmp_path),
            launcher="pytorch",
            env_cfg=dict(dist_cfg=dict(backend="gloo")),
            model=dict(neck=model.get("neck", {})),
            sync_bn=model.get("sync_bn"),
        )
    )
    with pytest.raises(UserError, match=r"batch norm over all processes .* sync_bn=None"):
        preflight.check(cfg, ())
    cfg.model, cfg.sync_bn = ConfigDict(), None
    preflight.check(cfg, ())


def test_blocks_take_no_memory_until_they_get_their_values() -> None:
    arch = dict(embed_dims=16, depths=(2, 2), num_heads=(2, 2), extra_norm_every_n_blocks=2)
    with blocks_on_meta():
        model = SwinTransformerV2(arch, window_size=4, out_indices=(0, 1), frozen_stages=1)
    whole = SwinTransformerV2(arch, window_size=4, out_indices=(0, 1), frozen_stages=1)
    meta = sum(p.numel() for p in model.parameters() if p.is_meta)
    assert meta > 0.8 * sum(p.numel() for p in model.parameters())
    for block in [module for module in model.modules() if isinstance(module, SwinBlock)]:
        materialise(block)
    expected = dict(whole.named_parameters())
    for name, param in model.named_parameters():
        assert param.requires_grad == expected[name].requires_grad
        # as from the constructor: the same constants, or numbers as widely spread
        torch.testing.assert_close(param.std(correction=0), expected[name].std(correction=0), rtol=0.2, atol=1e-6)
        torch.testing.assert_close(param.mean(), expected[name].mean(), rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    "leaf",
    [
        *("coco/htc_swinv2_g.py", "coco/htc_without_semantic_swinv2_g.py", "coco/objects365/htc_boxonly_swinv2_g.py"),
        *("ade20k/upernet_swinv2_g.py", "kinetics400/swinv2_g_256_stage1.py", "kinetics400/swinv2_g_320_stage2.py"),
    ],
)
def test_the_giant_shards_and_recomputes_by_default(leaf: str) -> None:
    cfg = Config.fromfile(CONFIGS / leaf)
    assert cfg.strategy == Config.fromfile(STRATEGIES / "zero1.py").strategy
    assert cfg.model.backbone.with_cp


def test_options_change_the_strategy_that_the_command_line_names(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Config] = []
    monkeypatch.setattr(launch, "train", lambda cfg, **_: trained.append(cfg))
    options = ["strategy.mixed_precision=None", "strategy.reshard_after_forward=False", "train_dataloader.batch_size=3"]
    tool("train").main([str(config), "--strategy", "fsdp", "--cfg-options", *options])
    (cfg,) = trained
    assert cfg.strategy == {
        "type": "swinv2_dense.FullyShardedStrategy",
        "mixed_precision": None,
        "reshard_after_forward": False,
    }
    assert cfg.train_dataloader.batch_size == 3
