"""A file of weights, whatever its format and its name."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from swinv2_dense.checkpoint.pickles import unpickle
from swinv2_dense.errors import UserError

__all__ = ["check_regular", "check_tensors", "read_file"]

# How files begin that are taken for weights, and what to do with them.
_OTHERS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights: run `git lfs pull`"),
    (b"\x89HDF", "is an HDF5 file, of Keras: SwinV2 weights of PyTorch are needed"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz: unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive: unpack it first"),
    (b"<", "is a web page or XML, not a PyTorch checkpoint: fetch the file itself"),
    (b"\x93NUMPY", "is a NumPy array, not a PyTorch checkpoint"),
)


def check_regular(path: Path, what: str = "checkpoint") -> None:
    """Refuse what is not a file: a folder, a pipe, a device, or nothing at all.

    Raises:
        UserError: names ``what`` and the path.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{what} {path} does not exist") from None
    except (OSError, ValueError) as error:  # a link to itself, a name too long, a NUL in it
        raise UserError(f"{what} {path} cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    if stat.S_ISDIR(mode):
        raise UserError(f"{what} {path} is a folder: name the file in it")
    if not stat.S_ISREG(mode):
        raise UserError(f"{what} {path} is a pipe or a device, not a file")


def read_file(path: Path, trust: bool = False) -> Any:
    """The content of a safetensors or a PyTorch file, found by what it holds, not by its name.

    Raises:
        UserError: it is neither, is damaged, claims more than it holds, or would run code.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read ({error.strerror or error})") from None
    if not start:
        raise UserError(f"checkpoint {path} is an empty file: fetch it again")
    for beginning, words in _OTHERS:
        if start.startswith(beginning):
            raise UserError(f"checkpoint {path} {words}")
    archive = start.startswith(b"PK")
    if archive and not zipfile.is_zipfile(path):
        raise UserError(f"checkpoint {path} is truncated: fetch it again")
    # eight bytes of length, then a JSON object; zip archives and pickles begin otherwise
    header = int.from_bytes(start[:8], "little")
    if not archive and (path.suffix == ".safetensors" or (start[8:9] == b"{" and header + 8 <= size)):
        return _read_safetensors(path)
    return unpickle(path, trust)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, RecursionError) as error:
        raise UserError(f"checkpoint {path} is truncated or not a safetensors file ({error})") from None


def check_tensors(tensors: Mapping[Any, Any], source: str) -> None:
    """Refuse weights that no dense model can take: under keys that are not text, sparse, quantized, complex or empty.

    Raises:
        UserError: names ``source``, the key and what it is.
    """
    for key, value in tensors.items():
        if not isinstance(key, str):
            raise UserError(f"{source} has the key {str(key)[:80]!r} among its weights, which is not text")
        if not isinstance(value, torch.Tensor):
            continue
        if value.is_meta:
            kind = "has a shape but no numbers (device meta): save the model after its weights are loaded"
        elif value.layout != torch.strided or value.is_nested:
            kind = "is not a dense tensor: save it dense"
        elif value.is_quantized or value.is_complex() or not _is_number(value.dtype):
            kind = f"is of type {value.dtype}: real numbers are needed"
        else:
            continue
        raise UserError(f"{source}: {key} {kind}")


def _is_number(dtype: torch.dtype) -> bool:
    """Whether torch can turn it into float32, which of its packed and bit types it cannot."""
    try:
        torch.empty(1, dtype=dtype).to(torch.float32)
    except (RuntimeError, NotImplementedError):
        return False
    return True
