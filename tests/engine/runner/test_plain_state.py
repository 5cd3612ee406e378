"""Whatever training holds becomes a file that plain ``torch.load`` and mmengine read."""

from __future__ import annotations

import datetime
import enum
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import OneCycleLR
from mmengine.runner import load_checkpoint

from swinv2_dense.engine.runner.plain_state import to_plain_data
from swinv2_dense.engine.runner.training_state import read_training_state, write_training_state
from swinv2_dense.errors import UserError


class Kind(enum.Enum):
    A = "a"


class Word(str):
    pass


def state(**parts: Any) -> dict[str, Any]:
    return {
        "meta": {"iter": 3, "epoch": 1},
        "state_dict": OrderedDict(w=torch.ones(2)),
        "optimizer": {"state": {}},
        "message_hub": {
            "log_scalars": OrderedDict(loss=HistoryBuffer([1.0, 2.5], [1, 2])),
            "runtime_info": OrderedDict(iter=3),
            "resumed_keys": OrderedDict(loss=True, iter=True),
        },
        **parts,
    }


ODD = {
    "path": (Path("a/b"), "a/b"),
    "date": (datetime.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
    "span": (datetime.timedelta(minutes=1), 60.0),
    "enumeration": (Kind.A, "a"),
    "text": (Word("a"), "a"),
    "numpy text": (np.str_("a"), "a"),
    "numpy number": (np.float32(0.5), 0.5),
    "numpy bool": (np.bool_(True), True),
    "counts": (defaultdict(int, a=1), {"a": 1}),
    "nested": ([{"a": (np.int64(1), {Path("b")})}], [{"a": (1, ["b"])}]),
    "array of text": (np.array(["a", "b"]), ["a", "b"]),
    "array of objects": (np.array([Path("a"), 1], dtype=object), ["a", 1]),
    "device": (torch.device("cpu"), "cpu"),
    "odd keys": ({Path("a"): 1, (1, 2): 2, 3: 3}, {"a": 1, "(1, 2)": 2, 3: 3}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_values_are_saved_as_plain_ones(tmp_path: Path, name: str) -> None:
    value, plain = ODD[name]
    path = tmp_path / "iter_3.pth"
    assert write_training_state(path, state(meta={"iter": 3, "dataset_meta": value})) == []
    assert torch.load(path, weights_only=True)["meta"]["dataset_meta"] == plain
    assert read_training_state(str(path))["meta"]["dataset_meta"] == plain


@pytest.mark.parametrize("dtype", ["uint8", "float16", "int64", "bool", ">f4"])
def test_arrays_become_tensors(dtype: str) -> None:
    array = np.array([[0, 1], [1, 0]], dtype)
    plain, left_out = to_plain_data(array)
    assert isinstance(plain, torch.Tensor) and plain.tolist() == array.tolist() and left_out == []


def test_functions_and_objects_are_left_out_by_name(tmp_path: Path) -> None:
    odd = {"anneal": max, "kept": 1, "list": [object(), 2]}
    left_out = write_training_state(tmp_path / "a.pth", state(param_schedulers=[odd]))
    assert left_out == ["param_schedulers.0.anneal", "param_schedulers.0.list.0"]
    assert torch.load(tmp_path / "a.pth")["param_schedulers"] == [{"kept": 1, "list": [None, 2]}]


def test_what_contains_itself_ends(tmp_path: Path) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert write_training_state(tmp_path / "a.pth", state(extra=loop))
    assert torch.load(tmp_path / "a.pth")["extra"][0] == 1


def test_one_cycle_schedule_is_saved_and_continues(tmp_path: Path) -> None:
    def schedule() -> OneCycleLR:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        return OneCycleLR(optimizer, eta_max=0.5, total_steps=10)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a step before the optimizer's
        expected, resumed = schedule(), schedule()
        for _ in range(4):
            expected.step()
        write_training_state(tmp_path / "a.pth", state(param_schedulers=[expected.state_dict()]))
        resumed.load_state_dict(read_training_state(str(tmp_path / "a.pth"))["param_schedulers"][0])
        resumed.optimizer.load_state_dict(expected.optimizer.state_dict())
        expected.step()
        resumed.step()
    assert resumed.get_last_value() == expected.get_last_value()


def test_log_comes_back_and_mmengine_reads_the_file_without_trusting_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.pth"
    write_training_state(path, state())
    hub = read_training_state(str(path))["message_hub"]
    assert hub["log_scalars"]["loss"].data[0].tolist() == [1.0, 2.5]
    assert hub["log_scalars"]["loss"].data[1].tolist() == [1, 2]
    assert hub["resumed_keys"] == {"loss": True, "iter": True}
    asked = []
    real = torch.load

    def load(*args: Any, **options: Any) -> Any:
        asked.append(options.get("weights_only"))
        return real(*args, **{**options, "weights_only": True})

    monkeypatch.setattr(torch, "load", load)
    model = torch.nn.Module()
    model.w = torch.nn.Parameter(torch.zeros(2))
    checkpoint = load_checkpoint(model, str(path))
    assert model.w.tolist() == [1, 1] and asked
    MessageHub.get_instance("plain").load_state_dict(checkpoint["message_hub"])


def test_versions_of_a_state_dict_are_kept(tmp_path: Path) -> None:
    weights = torch.nn.BatchNorm2d(2).state_dict()
    write_training_state(tmp_path / "a.pth", state(state_dict=weights))
    assert torch.load(tmp_path / "a.pth")["state_dict"]._metadata == weights._metadata


@pytest.mark.parametrize(
    "history",
    [3, {"loss": 3}, {"loss": {"values": torch.ones(2)}}, {"loss": {"values": [1], "counts": [1]}}, [1]],
)
def test_damaged_log_is_one_line(tmp_path: Path, history: Any) -> None:
    torch.save({**state(message_hub={"runtime_info": {}}), "log_history": history}, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth: it is damaged \(its log"):
        read_training_state(str(tmp_path / "a.pth"))


def test_history_that_claims_to_be_long_is_refused(tmp_path: Path) -> None:
    long = torch.zeros(1).expand(10**12)
    torch.save({**state(), "log_history": {"loss": {"values": long, "counts": long}}}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="claims a tensor of shape"):
        read_training_state(str(tmp_path / "a.pth"))
