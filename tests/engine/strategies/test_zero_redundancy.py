"""Every strategy that our configs name is a class, and ZeRO-1 is the optimizer that mmengine shards."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from swinv2_dense.config_files import STRATEGIES as FOLDER
from swinv2_dense.engine.strategies.zero_redundancy import ZeroRedundancyStrategy, shard_optimizer
from swinv2_dense.registry import STRATEGIES


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_strategies_of_our_configs_are_classes(path) -> None:
    cls = STRATEGIES.get(Config.fromfile(path).strategy.type)
    assert isinstance(cls, type)


def test_optimizer_is_sharded_once() -> None:
    sharded = shard_optimizer({"type": "AdamW", "lr": 0.1})
    assert sharded == {"type": "ZeroRedundancyOptimizer", "optimizer_type": "AdamW", "lr": 0.1}
    assert shard_optimizer(sharded) == sharded


def test_strategy_gives_the_sharded_config_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    parent = ZeroRedundancyStrategy.__mro__[1]
    monkeypatch.setattr(parent, "build_optim_wrapper", lambda self, wrapper, model=None: given.append(wrapper))
    strategy = ZeroRedundancyStrategy.__new__(ZeroRedundancyStrategy)
    strategy.build_optim_wrapper({"optimizer": {"type": "SGD", "lr": 1}})
    assert given[0]["optimizer"]["type"] == "ZeroRedundancyOptimizer"
