"""Whatever a user names is read without running its code, or refused in one line."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save as safetensors_bytes
from safetensors.torch import save_file
from torch import nn

from swinv2_dense.checkpoint.reading import read
from swinv2_dense.errors import UserError

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def same(found: Any) -> bool:
    return set(found) == set(WEIGHTS) and all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(UserError) as info:
        read(source, **options)
    assert "\n" not in str(info.value)
    return str(info.value)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        OrderedDict(WEIGHTS),
        {"model": WEIGHTS, "epoch": 3},
        {"state_dict": WEIGHTS, "meta": {"cfg": "x = 1"}, "optimizer": {"state": {}}},
        {"model": {"state_dict": WEIGHTS}},
        {"state_dict": WEIGHTS, "ema_state_dict": {"a.weight": torch.zeros(2, 3)}},
        {"state_dict_ema": WEIGHTS},
        {"model": WEIGHTS, "best_acc": torch.tensor(81.3)},
        {"epoch": torch.tensor(3), "state_dict": WEIGHTS, "optimizer": {"state": {}}},
        {key: nn.Parameter(value) for key, value in WEIGHTS.items()},
    ],
)
def test_weights_are_found_in_what_training_programs_save(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "x.pth")
    assert same(read(tmp_path / "x.pth").state_dict)
    assert same(read(content).state_dict)


def test_the_format_before_torch_1_6_is_read(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert same(read(str(tmp_path / "x.pth")).state_dict)


def test_a_safetensors_file_and_an_address_are_read(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "x.safetensors")
    assert same(read(tmp_path / "x.safetensors").state_dict)
    assert same(read((tmp_path / "x.safetensors").as_uri()).state_dict)
    assert "y.pth does not exist" in refusal((tmp_path / "y.pth").as_uri())


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("sharded", [False, True])
def test_a_huggingface_folder_is_read_with_its_configuration(tmp_path: Path, kind: str, sharded: bool) -> None:
    write = save_file if kind == "safetensors" else torch.save
    whole = "model.safetensors" if kind == "safetensors" else "pytorch_model.bin"
    config = {"model_type": "swinv2", "window_size": 8, "image_size": 256, "_name_or_path": "some/swinv2"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    if sharded:
        shards = {}
        for i, (key, value) in enumerate(WEIGHTS.items()):
            shards[key] = f"{whole.split('.')[0]}-{i}-of-2.{kind}"
            write({key: value}, str(tmp_path / shards[key]))
        (tmp_path / f"{whole}.index.json").write_text(json.dumps({"weight_map": shards}))
    else:
        write(WEIGHTS, str(tmp_path / whole))
    found = read(tmp_path)
    assert same(found.state_dict)
    assert found.config == config
    assert "some/swinv2" in found.name
    if sharded:
        (tmp_path / shards["a.bias"]).unlink()
        assert f"lacks its shard {shards['a.bias']}" in refusal(tmp_path)
    else:
        assert read(tmp_path / whole).config == config


def test_another_programs_config_json_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("not even JSON")
    torch.save(WEIGHTS, tmp_path / "epoch_1.pth")
    assert read(tmp_path / "epoch_1.pth").config is None
    torch.save(WEIGHTS, tmp_path / "pytorch_model.bin")
    assert "config.json is not valid JSON" in refusal(tmp_path)


class _Touch:
    """A pickle that leaves a trace if its code is run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_with_code_is_refused_unexecuted_unless_trusted(tmp_path: Path, new_format: bool) -> None:
    trace, file = tmp_path / "trace", tmp_path / "x.pth"
    content = {"model": WEIGHTS, "config": _Touch(trace)}
    torch.save(content, file, _use_new_zipfile_serialization=new_format)
    line = refusal(file)
    assert "would run code" in line
    assert "pathlib" in line or "getattr" in line
    assert "trust=True" in line
    assert "--trust" in line
    assert not trace.exists()
    assert same(read(file, trust=True).state_dict)
    assert trace.exists()


@pytest.mark.parametrize("found_by_getattr", [False, True])
def test_a_bare_pickle_runs_nothing_either(tmp_path: Path, found_by_getattr: bool) -> None:
    """Not through getattr either, which the pickles of mmengine's log name: ``getattr(builtins, 'eval')(...)``."""

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    trace = tmp_path / "trace"
    function = b"cbuiltins\neval\n"
    if found_by_getattr:
        function = b"cbuiltins\ngetattr\n" + b"cshutil\nos\n" + text("mkdir") + b"\x86R"
    argument = str(trace) if found_by_getattr else f"__import__('os').mkdir({str(trace)!r})"
    code = b"\x80\x02" + function + text(argument) + b"\x85R."
    (tmp_path / "x.pth").write_bytes(code)
    refusal(tmp_path / "x.pth")
    assert not trace.exists()
    pickle.loads(code)
    assert trace.exists()


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_paths_beside_the_weights_are_read_whichever_python_saved_them(tmp_path: Path, module: str) -> None:
    """Python 3.13 saves them under another name than the others, and neither name needs to be there to read."""
    torch.save({"model": WEIGHTS, "args": {"output": PurePosixPath("out")}}, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth") as source, zipfile.ZipFile(tmp_path / "y.pth", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                saved = f"c{PurePosixPath.__module__}\nPurePosixPath".encode()
                assert saved in content
                content = content.replace(saved, f"c{module}\nPurePosixPath".encode())
            target.writestr(name, content)
    assert same(read(tmp_path / "y.pth").state_dict)


def test_mmengines_training_checkpoints_are_read(tmp_path: Path) -> None:
    from mmengine.logging import MessageHub

    hub = MessageHub("reading")
    hub.update_scalar("train/loss", np.float64(1.5))
    hub.update_info("epoch", np.int64(3))
    content = {
        "state_dict": WEIGHTS,
        "message_hub": hub.state_dict(),
        "meta": {"dataset_meta": {"palette": np.zeros((2, 3), dtype=np.uint8)}, "seed": np.int32(1)},
    }
    torch.save(content, tmp_path / "epoch_3.pth")
    assert same(read(tmp_path / "epoch_3.pth").state_dict)


class CfgNode(dict):  # the name and the module that yacs's class is pickled with
    __module__ = "yacs.config"


def test_the_settings_that_authors_and_timm_save_beside_the_weights_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    import types

    before = set(torch.serialization.get_safe_globals())
    module = types.ModuleType("yacs.config")
    module.CfgNode = CfgNode  # type: ignore[attr-defined]
    node = CfgNode(MODEL=CfgNode(TYPE="swinv2"))
    node.__dict__["__immutable__"] = True
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
        patch.setitem(sys.modules, "yacs.config", module)
        torch.save({"model": WEIGHTS, "config": node, "max_accuracy": np.float64(81.8)}, tmp_path / "authors.pth")
    torch.save({"state_dict": WEIGHTS, "args": argparse.Namespace(lr=1.0, path=Path("x"))}, tmp_path / "timm.pth")
    assert same(read(tmp_path / "authors.pth").state_dict)
    assert same(read(tmp_path / "timm.pth").state_dict)
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    ("content", "taken", "other"),
    [
        ({"state_dict": WEIGHTS, "state_dict_ema": {"a.weight": torch.zeros(2, 3)}}, "state_dict", "state_dict_ema"),
        ({"model": WEIGHTS, "model_ema": {"a.weight": torch.zeros(2, 3)}, "ema": 0.99}, "model", "model_ema"),
        ({"state_dict": WEIGHTS, "ema_state_dict": {"a.weight": torch.zeros(2, 3)}}, "state_dict", "ema_state_dict"),
    ],
)
def test_of_two_sets_of_weights_it_is_said_which_was_taken_and_how_to_take_the_other(
    content: dict[str, Any], taken: str, other: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "x.pth")
    found = read(tmp_path / "x.pth")
    assert same(found.state_dict)
    assert found.choice == f"{taken}; the file also holds {other}: FILE#{other} takes that one"
    found = read(f"{tmp_path}/x.pth#{other}")
    assert not found.state_dict["a.weight"].any()
    assert found.choice == other
    assert f"no weights under 'nothing', only {taken}" in refusal(f"{tmp_path}/x.pth#nothing")
    (tmp_path / "x.pth").rename(tmp_path / "x#1.pth")
    assert same(read(tmp_path / "x#1.pth").state_dict)


def test_weights_under_unknown_keys_are_named_with_the_way_to_take_them(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "student": WEIGHTS, "teacher": WEIGHTS, "log": {"loss": 0.5}}, tmp_path / "x.pth")
    assert "tensors under student, teacher: FILE#student takes these" in refusal(tmp_path / "x.pth")
    assert same(read(f"{tmp_path / 'x.pth'}#teacher").state_dict)


def test_one_set_of_weights_is_no_choice(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS, "ema": {"decay": 0.999}, "optimizer": {"state": {}}}, tmp_path / "x.pth")
    assert not read(tmp_path / "x.pth").choice


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("[]", "no index of shards"),
        ("{}", "no index of shards"),
        ('{"weight_map": {"a": 3}}', "no index of shards"),
        ('{"weight_map": []}', "no index of shards"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"weight_map": {"a": "../secret.bin"}}', "leads out of the folder"),
        ('{"weight_map": {"a": "/etc/passwd"}}', "leads out of the folder"),
        ('{"weight_map": {"a": ".."}}', "leads out of the folder"),
        ('{"weight_map": {"a": "b\\u0000c"}}', "leads out of the folder"),
        ('{"weight_map": {"a": "gone.bin"}}', "lacks its shard gone.bin"),
    ],
)
def test_an_index_of_shards_names_files_beside_it(index: str, said: str, tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "secret.bin")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin.index.json").write_text(index)
    assert said in refusal(tmp_path / "model")


def test_weights_that_no_model_can_take_are_named(tmp_path: Path) -> None:
    torch.save({1: torch.ones(1), **WEIGHTS}, tmp_path / "x.pth")
    assert "key '1' among its weights" in refusal(tmp_path / "x.pth")
    torch.save({"a": torch.ones(2, device="meta")}, tmp_path / "x.pth")
    assert "device meta" in refusal(tmp_path / "x.pth")


def test_pipes_and_odd_names_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    assert "named pipe" in refusal(tmp_path / "pipe.pth")
    assert "a device" in refusal("/dev/zero")
    assert "cannot be read" in refusal("x" * 5000)
    assert "\\x1b" in refusal("red\x1b[31m.pth")


def test_what_timm_saves_tells_how_it_trained(tmp_path: Path) -> None:
    content = {"arch": "swinv2_tiny_window8_256", "state_dict": WEIGHTS, "epoch": 3}
    for arguments, found in (
        ({"img_size": 224, "input_size": None, "model_kwargs": {}}, {"img_size": 224}),
        ({"img_size": None, "input_size": [3, 192, 192], "model_kwargs": {"window_size": 6}}, {"img_size": 192}),
    ):
        torch.save({**content, "args": argparse.Namespace(**arguments)}, tmp_path / "x.pth")
        training = read(tmp_path / "x.pth").training
        assert training["architecture"] == "swinv2_tiny_window8_256"
        assert training["img_size"] == found["img_size"]
        assert training.get("window_size") == arguments["model_kwargs"].get("window_size")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", "-old.pth"])
def test_truncated_files_are_refused(tmp_path: Path, share: float, suffix: str) -> None:
    file = tmp_path / f"x{suffix}"
    content = {"a.weight": torch.randn(100, 100)}
    if suffix == ".safetensors":
        save_file(content, file)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=suffix == ".pth")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    line = refusal(file)
    assert str(file) in line
    assert "truncated" in line or "damaged" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is an empty file"),
        (b"<html>404 Not Found</html>", "is a web page"),
        (b"\n\n  <!DOCTYPE html><html>404</html>", "is a web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (pickle.dumps([1, 2, 3], protocol=4), "not a PyTorch checkpoint"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    assert said in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize("beginning", [b"PK", b" <"])
def test_a_safetensors_file_whose_length_reads_like_another_format_is_read(tmp_path: Path, beginning: bytes) -> None:
    length = int.from_bytes(beginning, "little")
    empty = len(safetensors_bytes(WEIGHTS, {"note": ""})) - sum(value.nbytes for value in WEIGHTS.values()) - 8
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors_bytes(WEIGHTS, {"note": "x" * (length - empty)}))
    assert file.read_bytes().startswith(beginning + b"\0")
    assert same(read(file).state_dict)


def test_missing_files_and_things_without_weights_are_refused(tmp_path: Path) -> None:
    assert "gone.pth does not exist" in refusal(tmp_path / "gone.pth")
    assert "has none of model.safetensors" in refusal(tmp_path)
    torch.save({"epoch": 3}, tmp_path / "x.pth")
    assert "x.pth holds no weights" in refusal(tmp_path / "x.pth")
    torch.save([torch.ones(1)], tmp_path / "x.pth")
    assert "x.pth holds no weights" in refusal(tmp_path / "x.pth")
    assert "the state dict holds no weights" in refusal({})


def _cache(root: Path, repository: str, files: dict[str, Any]) -> None:
    """What huggingface_hub's cache looks like once it has fetched ``repository``."""
    folder = root / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("abc")
    (folder / "snapshots" / "abc").mkdir(parents=True)
    for name, content in files.items():
        if name.endswith(".json"):
            (folder / "snapshots" / "abc" / name).write_text(json.dumps(content))
        else:
            save_file(content, folder / "snapshots" / "abc" / name)


def test_hub_models_are_read_from_the_libraries_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert "hf:microsoft/none is not in the local cache" in refusal("hf:microsoft/none")
    assert "timm:swinv2_tiny_window8_256.ms_in1k is not in the local" in refusal("timm:swinv2_tiny_window8_256.ms_in1k")
    assert "timm has no such weights" in refusal("timm:swinv2_tiny_window9")

    _cache(tmp_path, "timm/swinv2_tiny_window8_256.ms_in1k", {"model.safetensors": WEIGHTS})
    found = read("timm:swinv2_tiny_window8_256.ms_in1k")
    assert same(found.state_dict)
    assert found.name == "swinv2_tiny_window8_256.ms_in1k"
    config = {"window_size": 8, "image_size": 256}
    _cache(tmp_path, "microsoft/swinv2-x", {"model.safetensors": WEIGHTS, "config.json": config})
    found = read("hf:microsoft/swinv2-x")
    assert same(found.state_dict)
    assert found.config == config
