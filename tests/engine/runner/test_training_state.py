"""read_training_state: what mmengine saves comes back whole, and code in a pickle is not run."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from swinv2_dense.engine.runner.training_state import choose, read_training_state
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


def _rewritten(path: Path, pickled: bytes) -> None:
    """A checkpoint whose pickle part is another, with the right checksum."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, pickled if name.endswith("/data.pkl") else content)


def test_damage_in_the_pickle_part(tmp_path: Path) -> None:
    older, later = tmp_path / "epoch_1.pth", tmp_path / "epoch_2.pth"
    torch.save(state(), older)
    torch.save({**state(), "meta": {"iter": 6, "epoch": 2}}, later)
    whole = later.read_bytes()
    assert choose(tmp_path) == later
    with zipfile.ZipFile(later) as archive:
        pickled = archive.read("epoch_2/data.pkl")
    start = whole.index(pickled)
    for number in range(0, len(pickled), 5):
        damaged = bytearray(whole)
        damaged[start + number] ^= 1 << number % 8
        later.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cannot resume from .*epoch_2.pth: it is damaged"):
            read_training_state(str(later))
        assert choose(tmp_path) == older, number


def test_pickles_that_are_no_training_state(tmp_path: Path) -> None:
    path = tmp_path / "epoch_1.pth"
    torch.save(state(), path)
    with zipfile.ZipFile(path) as archive:
        pickled = archive.read("epoch_1/data.pkl")
    refused = 0
    for number in range(0, len(pickled), 3):
        changed = bytearray(pickled)
        changed[number] ^= 1 << number % 8
        _rewritten(path, changed)
        try:
            read_training_state(str(path))
        except UserError:  # and nothing else
            refused += 1
    assert refused > len(pickled) // 12


@pytest.mark.parametrize("meta", [None, [3], {"iter": "three"}, {"iter": 3, "epoch": None}])
def test_malformed_meta(tmp_path: Path, meta: object) -> None:
    torch.save(state(), tmp_path / "epoch_1.pth")
    torch.save({**state(), "meta": meta}, tmp_path / "epoch_2.pth")
    with pytest.raises(UserError, match=r"epoch_2\.pth: it is damaged"):
        read_training_state(str(tmp_path / "epoch_2.pth"))
    assert choose(tmp_path) == tmp_path / "epoch_1.pth"


def test_truncated_and_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "epoch_1.pth"
    torch.save(state(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"cannot resume from .*truncated"):
        read_training_state(str(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"w": torch.ones(2)}, "it holds weights alone; start from them by load_from="),
        ({"meta": {}, "state_dict": {"w": torch.ones(2)}}, "it holds weights alone; start from them by load_from="),
        (
            {"model": {"w": torch.ones(2)}, "optimizer": {"state": {0: {"step": torch.ones(2)}}}, "epoch": 3},
            "it holds weights, but lacks state_dict, message_hub, meta; start from them by load_from=",
        ),
        (
            {"optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}},
            "it holds no weights, and lacks state_dict, message_hub, meta: name a checkpoint of training",
        ),
        ([1, 2], "it holds no weights, and lacks state_dict, optimizer, message_hub, meta: name a checkpoint"),
    ],
)
def test_what_is_no_training_state(content: object, words: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match=words):
        read_training_state(str(tmp_path / "x.pth"))


@pytest.mark.parametrize(
    "claim", [torch.zeros(1).expand(60000, 60000), {"a": torch.zeros(1).expand(1 << 40)}], ids=["expanded", "inside"]
)
def test_a_state_that_claims_more_than_the_file_holds_is_refused(claim: object, tmp_path: Path) -> None:
    path = tmp_path / "epoch_1.pth"
    torch.save({**state(), "optimizer": claim}, path)
    with pytest.raises(UserError, match=r"cannot resume from .*claims a tensor of shape"):
        read_training_state(str(path))
