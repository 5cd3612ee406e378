"""A file of weights, whatever its format and its name."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from swinv2_dense.checkpoint.pickles import unpickle
from swinv2_dense.errors import UserError
from swinv2_dense.files import open_regular

__all__ = ["check_tensors", "read_file"]

# How files begin that are taken for weights, and what to do with them.
_OTHERS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights: run `git lfs pull`"),
    (b"\x89HDF", "is an HDF5 file, of Keras: SwinV2 weights of PyTorch are needed"),
    (b"\x1f\x8b", "is compressed with gzip: unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz: unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive: unpack it first"),
    (b"\x93NUMPY", "is a NumPy array, not a PyTorch checkpoint"),
)


def read_file(path: Path, trust: bool = False) -> Any:
    """The content of a safetensors or a PyTorch file, found by what it holds, not by its name.

    Raises:
        UserError: it is neither, is damaged, claims more than it holds, or would run code.
    """
    with open_regular(path, "checkpoint") as file:
        start, size = file.read(64), os.fstat(file.fileno()).st_size
    if not start:
        raise UserError(f"checkpoint {path} is an empty file: fetch it again")
    for beginning, words in _OTHERS:
        if start.startswith(beginning):
            raise UserError(f"checkpoint {path} {words}")
    if re.match(rb"(\xef\xbb\xbf)?\s*<[!?a-zA-Z]", start):
        raise UserError(f"checkpoint {path} is a web page or XML, not a PyTorch checkpoint: fetch the file itself")
    # b"PK" begins a safetensors file whose header has 19,280 bytes, too; its JSON follows
    archive = start.startswith(b"PK") and start[8:9] != b"{"
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
