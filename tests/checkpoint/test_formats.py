"""A file is read by what it holds, whatever it is called, and is otherwise called what it is."""

from __future__ import annotations

import gzip
import os
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from swinv2_dense.checkpoint.formats import check_tensors, read_file
from swinv2_dense.errors import UserError

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3)}


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "x.bin", "x", "x.ckpt"])
@pytest.mark.parametrize("kind", ["torch", "old torch", "safetensors"])
def test_the_name_does_not_matter(name: str, kind: str, tmp_path: Path) -> None:
    if kind == "safetensors":
        save_file(WEIGHTS, tmp_path / name)
    else:
        torch.save(WEIGHTS, tmp_path / name, _use_new_zipfile_serialization=kind == "torch")
    if (name, kind) == ("x.safetensors", "old torch"):
        with pytest.raises(UserError, match="not a safetensors file"):
            read_file(tmp_path / name)
    else:
        assert torch.equal(read_file(tmp_path / name)["a.weight"], WEIGHTS["a.weight"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is an empty file"),
        (b"<!DOCTYPE html><p>Sign in", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 file"),
        (gzip.compress(b"x" * 100, mtime=0), "compressed with gzip"),
        (b"PK\x03\x04" + b"\0" * 100, "is truncated"),
        (b"\xff" * 200, "not a PyTorch checkpoint"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "not a PyTorch checkpoint"),
    ],
)
def test_other_files_are_called_what_they_are(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_file(tmp_path / "x.pth")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "loop.pth").symlink_to(tmp_path / "loop.pth")
    (tmp_path / "gone.pth").symlink_to(tmp_path / "nothing.pth")
    cases = {
        tmp_path / "pipe.pth": "a named pipe",
        Path("/dev/zero"): "a device",
        tmp_path: "is a folder",
        tmp_path / "loop.pth": "cannot be read",
        tmp_path / "gone.pth": "does not exist",
        tmp_path / ("x" * 5000): "cannot be read",
        tmp_path / "a\0b": "cannot be read",
    }

    def check() -> None:
        for path, said in cases.items():
            with pytest.raises(UserError, match=said):
                read_file(path)
        done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=check, daemon=True)
    thread.start()
    thread.join(60)
    assert done, "a pipe was waited for, or a check failed"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (3, torch.ones(1), "key '3' among its weights, which is not text"),
        (("a",), torch.ones(1), "which is not text"),
        ("a", torch.ones(2, device="meta"), "a has a shape but no numbers"),
        ("a", torch.eye(2).to_sparse(), "a is not a dense tensor"),
        ("a", torch.ones(2, dtype=torch.complex64), "torch.complex64: real numbers are needed"),
        ("a", torch.empty(2, dtype=torch.bits8), "torch.bits8: real numbers are needed"),
    ],
)
def test_weights_of_no_use_are_named(key: object, value: torch.Tensor, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_tensors({**WEIGHTS, key: value}, "x.pth")


def test_narrow_and_other_numbers_pass() -> None:
    kinds = (torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16, torch.int64, torch.bool, torch.float64)
    check_tensors({str(kind): torch.zeros(2, dtype=kind) for kind in kinds} | {"note": "text"}, "x.pth")
