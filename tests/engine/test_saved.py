"""read_training_state: what mmengine saves comes back whole, and code in a pickle is not run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from swinv2_dense.engine.saved import read_training_state
from swinv2_dense.errors import UserError


def state() -> dict:
    return {
        "meta": {"iter": 3, "epoch": 1},
        "state_dict": {"w": torch.ones(2)},
        "optimizer": {"state": {}},
        "message_hub": {
            "log_scalars": {"loss": HistoryBuffer([1.0, 2.0], [1, 1])},
            "runtime_info": {"lr": np.float64(0.5), "sizes": np.arange(3)},
        },
    }


def test_what_training_saves_comes_back(tmp_path: Path) -> None:
    torch.save(state(), tmp_path / "epoch_1.pth")
    read = read_training_state(str(tmp_path / "epoch_1.pth"))
    assert read["message_hub"]["log_scalars"]["loss"].mean() == 1.5
    assert read["message_hub"]["runtime_info"]["lr"] == 0.5
    assert read["message_hub"]["runtime_info"]["sizes"].tolist() == [0, 1, 2]
    assert read["state_dict"]["w"].tolist() == [1, 1]


class Runs:
    """Unpickled, it calls."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call


def test_code_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    gadgets = (Runs(getattr, dict, "fromkeys"), Runs(getattr, HistoryBuffer, "__init__"))
    for attack in (Runs(os.mkdir, str(trace)), *gadgets):
        torch.save({**state(), "extra": attack}, tmp_path / "evil.pth")
        with pytest.raises(UserError, match="not run"):
            read_training_state(str(tmp_path / "evil.pth"))
    assert not trace.exists()


def test_truncated_and_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "epoch_1.pth"
    torch.save(state(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"cannot resume from .*truncated"):
        read_training_state(str(path))
    torch.save({"state_dict": {}}, path)
    with pytest.raises(UserError, match="weights alone"):
        read_training_state(str(path))
