"""From what a user names (a path, an address, a hub's model, a dict) to a state dict, without running its code."""

from __future__ import annotations

import json
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn

from swinv2_dense.errors import UserError

__all__ = ["Checkpoint", "Source", "read", "unwrap"]

Source = str | os.PathLike[str] | Mapping[str, Any]

# Where checkpoints keep their weights, tried in this order; an EMA copy only where there is nothing else.
_WRAPPERS = (
    *("state_dict", "model", "model_state_dict", "module", "model_state", "net", "network"),
    *("ema_state_dict", "state_dict_ema", "model_ema", "ema"),
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


@dataclass
class Checkpoint:
    """``state_dict``: the tensors, under the publisher's names. ``name``: the publisher's name of the model or file.
    ``config``: config.json beside the weights. ``source``: what the user gave, for messages."""

    state_dict: Mapping[str, Any]
    name: str = ""
    config: Mapping[str, Any] | None = None
    source: str = "a state dict"


def read(source: Source, *, trust: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        source: path or address of a ``.pth``, ``.bin`` or ``.safetensors``; a HuggingFace folder (config.json and
            weights, also in shards); ``timm:NAME`` or ``hf:NAME``, read through these libraries' own caches; or a
            state dict.
        trust: run the code in a pickle. Without it pickles are read with ``weights_only=True`` and nothing else; of
            the classes that training programs save beside the weights, empty stand-ins are made.

    Raises:
        UserError: nothing there, truncated, not a checkpoint, or a pickle with code in it.
    """
    if isinstance(source, Mapping):
        return Checkpoint(unwrap(source, "the state dict"))
    text = os.fspath(source)
    if text.startswith("timm:"):
        return _read_timm(text, trust)
    if text.startswith("hf:"):
        return _read_hf(text, trust)
    path = _downloaded(text) if re.match(r"(https?|file)://", text) else Path(text).expanduser()
    if path.is_dir():
        return _read_folder(path, text, trust)
    if not path.is_file():
        raise UserError(f"checkpoint {text} does not exist")
    config = _sibling_config(path)
    return Checkpoint(_read_file(path, trust), _name(path, config), config, text)


def _name(path: Path, config: Mapping[str, Any] | None) -> str:
    """Where the publisher's name may stand: file, folder, configuration."""
    known = (config or {}).get("architecture") or (config or {}).get("_name_or_path") or ""
    return " ".join((path.name, path.absolute().parent.name, str(known)))


def unwrap(content: object, source: str) -> Mapping[str, Any]:
    """The dict of tensors in what a training program saves; ``source`` is for the message if there is none."""
    for _ in range(4):
        if isinstance(content, nn.Module):
            content = content.state_dict()
        if not isinstance(content, Mapping):
            break
        if any(isinstance(value, torch.Tensor) for value in content.values()):
            return content
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), (Mapping, nn.Module))]
        if not inner:
            break
        content = inner[0]
    raise UserError(f"{source} holds no weights: expected a dict of tensors, plain or under 'state_dict' or 'model'")


def _read_file(path: Path, trust: bool) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise UserError(f"checkpoint {path} is an empty file: fetch it again")
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise UserError(f"checkpoint {path} is truncated: fetch it again")
    if start.startswith(b"version https://git-lfs"):
        raise UserError(f"checkpoint {path} is a Git LFS pointer, not the weights: run `git lfs pull`")
    return unwrap(_unpickle(path, trust), f"checkpoint {path}")


def _unpickle(path: Path, trust: bool) -> object:
    known = set(torch.serialization.get_safe_globals())
    stand_ins = [item for item in _STAND_INS if item not in known]
    try:
        with torch.serialization.safe_globals(stand_ins):
            mmap = zipfile.is_zipfile(path)  # the older format cannot be mapped
            return torch.load(path, map_location="cpu", weights_only=not trust, mmap=mmap)
    except pickle.UnpicklingError as error:
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            raise UserError(
                f"checkpoint {path} is a pickle that would run code ({code[1]}); it was not run. Only if you trust its "
                "origin: load_pretrained(..., trust=True), or convert it once with swinv2 checkpoint convert --trust"
            ) from None
        raise UserError(f"checkpoint {path} is not a PyTorch checkpoint, or damaged") from None
    except Exception as error:  # whatever a damaged file, or a trusted one's own code, may raise
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"checkpoint {path} is truncated or not a PyTorch checkpoint ({reason})") from None


class _Nothing:
    """Stands in for an object that does not matter here: takes anything, does nothing."""

    def __new__(cls, *_: object) -> _Nothing:
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


def _settings(*_: object) -> OrderedDict[str, Any]:
    return OrderedDict()


# What the training programs of SwinV2's publishers pickle beside the weights: settings (the authors', timm's), numbers
# of NumPy's and mmengine's logs. None of these classes is imported or called.
_STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (OrderedDict, "yacs.config.CfgNode"),
    (OrderedDict, "mmengine.config.config.ConfigDict"),
    (_settings, "collections.defaultdict"),
    *(
        (_Nothing, name)
        for name in (
            *("argparse.Namespace", "pathlib.PosixPath", "builtins.slice", "builtins.getattr"),
            *("mmengine.logging.history_buffer.HistoryBuffer", "numpy.dtype", "numpy.ndarray"),
            *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        )
    ),
]


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"checkpoint {path} is truncated or not a safetensors file ({error})") from None


def _sibling_config(path: Path) -> Mapping[str, Any] | None:
    """A HuggingFace or timm config.json beside the weights; any other program's is none of ours."""
    file = path.parent / "config.json"
    if not file.is_file() or path.name.split(".")[0].split("-")[0] not in ("model", "pytorch_model"):
        return None
    try:
        config = json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON ({error})") from None
    return config if isinstance(config, dict) else None


def _read_folder(folder: Path, source: str, trust: bool) -> Checkpoint:
    for name in _WEIGHTS:
        whole, index = folder / name, folder / f"{name}.index.json"
        if whole.is_file():
            files = [whole]
        elif index.is_file():
            files = [folder / shard for shard in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        else:
            continue
        if missing := [file for file in files if not file.is_file()]:
            raise UserError(f"checkpoint {source} lacks its shard {missing[0].name}: fetch it again")
        state_dict = {key: value for file in files for key, value in _read_file(file, trust).items()}
        config = _sibling_config(folder / name)
        return Checkpoint(state_dict, _name(folder / name, config), config, source)
    raise UserError(f"checkpoint folder {source} has none of {', '.join(_WEIGHTS)}: name the file itself")


def _downloaded(url: str) -> Path:
    """torch.hub's cache, which replaces a file only when all of it has arrived."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(urlparse(url).path).name
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except (OSError, ValueError) as error:
            raise UserError(f"checkpoint {url} could not be fetched ({error}): download it and give the path") from None
    return path


def _read_timm(source: str, trust: bool) -> Checkpoint:
    try:
        import timm
    except ImportError:
        raise UserError(f"checkpoint {source} needs timm: pip install timm") from None
    name = source.removeprefix("timm:")
    cfg = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    if cfg is None or not cfg.hf_hub_id:
        raise UserError(f"checkpoint {source}: timm has no such weights; timm.list_pretrained('swinv2*') lists them")
    path = Path(_from_hub(source, cfg.hf_hub_id, ["model.safetensors"])) / "model.safetensors"
    return Checkpoint(_read_file(path, trust), f"{cfg.architecture}.{cfg.tag}", None, source)


def _read_hf(source: str, trust: bool) -> Checkpoint:
    repository = source.removeprefix("hf:")
    folder = Path(_from_hub(source, repository, ["config.json", "*.safetensors", "*.safetensors.index.json"]))
    if not any(folder.glob("*.safetensors")):
        folder = Path(_from_hub(source, repository, ["config.json", "pytorch_model*"]))
    found = _read_folder(folder, source, trust)
    found.name = f"{repository} {found.name}"
    return found


def _from_hub(source: str, repository: str, patterns: list[str]) -> str:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(f"checkpoint {source} needs huggingface_hub: pip install huggingface_hub") from None
    try:
        return snapshot_download(repository, allow_patterns=patterns)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"checkpoint {source} is not in the local cache and could not be fetched ({reason}): give a path instead"
        ) from None
