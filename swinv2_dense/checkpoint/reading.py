"""From what a user names (a path, an address, a hub's model, a dict) to a state dict, without running its code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from swinv2_dense.checkpoint.downloads import downloaded, from_hub, is_address, warn_of_other_content
from swinv2_dense.checkpoint.formats import check_tensors, read_file
from swinv2_dense.errors import UserError
from swinv2_dense.files import read_bytes, within

__all__ = ["WRAPPERS", "Checkpoint", "Source", "local_path", "read", "read_meta", "unwrap"]

Source = str | os.PathLike[str] | Mapping[str, Any]

# Where checkpoints keep their weights, tried in this order; an average (EMA) only where there is nothing else.
WRAPPERS = (
    *("state_dict", "model", "model_state_dict", "module", "model_state", "net", "network"),
    *("ema_state_dict", "state_dict_ema", "model_ema", "ema"),
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_MAX_JSON = 64 << 20  # bytes; an index of shards takes some 100 a weight


@dataclass
class Checkpoint:
    """``state_dict``: the tensors, under the publisher's names. ``name``: the publisher's name of the model or file.
    ``config``: config.json beside the weights. ``training``: what a training program of timm's saved beside them.
    ``source``: what the user gave, for messages. ``choice``: which of several sets of weights was taken, in words."""

    state_dict: Mapping[str, Any]
    name: str = ""
    config: Mapping[str, Any] | None = None
    source: str = "a state dict"
    training: Mapping[str, Any] = field(default_factory=dict)
    choice: str = ""


def read(source: Source, *, trust: bool = False) -> Checkpoint:
    """Read a checkpoint.

    Args:
        source: path or address of a ``.pth``, ``.bin`` or ``.safetensors``; a HuggingFace folder (config.json and
            weights, also in shards); ``timm:NAME`` or ``hf:NAME``, read through these libraries' own caches; or a
            state dict. ``PATH#KEY`` takes the weights under KEY, where a file holds several.
        trust: run the code in a pickle. Without it pickles are read with ``weights_only=True`` and nothing else; of
            the classes that training programs save beside the weights, empty stand-ins are made.

    Raises:
        UserError: nothing there, truncated, not a checkpoint, claims more than it holds, or a pickle with code in it.
    """
    if isinstance(source, Mapping):
        state_dict, _ = unwrap(source, "the state dict")
        check_tensors(state_dict, "the state dict")
        return Checkpoint(state_dict)
    if not isinstance(source, (str, os.PathLike)):
        raise UserError(
            f"cannot read weights from a {type(source).__name__}: give a path, an address, timm:NAME, hf:NAME, or a "
            "state dict, as model.state_dict() returns it"
        )
    text = os.fspath(source)
    if not text:
        raise UserError("a checkpoint's path is empty text: give a path, an address, timm:NAME or hf:NAME")
    if text.startswith("timm:"):
        return _read_timm(text, trust)
    if text.startswith("hf:"):
        return _read_hf(text, trust)
    path, key = local_path(text)
    if os.path.isdir(path):
        return _read_folder(path, text, trust)
    config = _sibling_config(path)
    content = read_file(path, trust)
    warn_of_other_content(path)
    state_dict, choice = unwrap(content, f"checkpoint {text}", key)
    check_tensors(state_dict, f"checkpoint {text}")
    return Checkpoint(state_dict, _name(path, config), config, text, _training(content), choice)


def local_path(source: str) -> tuple[Path, str | None]:
    """The file or folder that a path or an address names, fetched if need be, and the key after its ``#``."""
    if is_address(source):
        return downloaded(source), source.partition("#")[2] or None
    path = Path(source).expanduser()
    stem, _, key = source.rpartition("#")
    if stem and not os.path.lexists(path):
        return Path(stem).expanduser(), key
    return path, None


def read_meta(source: str | os.PathLike[str], *, trust: bool = False) -> dict[str, Any]:
    """What a training program of OpenMMLab says of a run in its checkpoint: ``cfg``, ``dataset_meta`` and the like.

    Empty for a checkpoint that says nothing, and for hubs' models. Takes and raises what :func:`read` does.
    """
    text = os.fspath(source)
    if text.startswith(("timm:", "hf:")):
        return {}
    path, _ = local_path(text)
    if os.path.isdir(path):
        return {}
    content = read_file(path, trust)
    meta = content.get("meta") if isinstance(content, Mapping) else None
    return dict(meta) if isinstance(meta, Mapping) else {}


def _name(path: Path, config: Mapping[str, Any] | None) -> str:
    """Where the publisher's name may stand: configuration, file, folder."""
    known = (config or {}).get("architecture") or (config or {}).get("_name_or_path") or ""
    return " ".join((str(known), path.name, path.absolute().parent.name))


def unwrap(content: object, source: str, key: str | None = None) -> tuple[Mapping[str, Any], str]:
    """The dict of tensors in what a training program saves, and which it is, in words, where there are several.

    ``key`` asks for one of them; ``source`` is for messages.

    Raises:
        UserError: no tensors in it, or none under ``key``.
    """
    choice = ""
    if key is not None:
        if not isinstance(content, Mapping) or not isinstance(content.get(key), (Mapping, nn.Module)):
            held = [str(name) for name in content if isinstance(name, str)] if isinstance(content, Mapping) else []
            raise UserError(f"{source}: there are no weights under {key!r}, only {', '.join(held[:10]) or 'nothing'}")
        content, choice = content[key], key
    for _ in range(4):
        if isinstance(content, nn.Module):
            content = content.state_dict()
        if not isinstance(content, Mapping):
            break
        inner = [name for name in WRAPPERS if isinstance(content.get(name), (Mapping, nn.Module))]
        # an accuracy or an epoch beside the weights may be a tensor too
        if _holds_tensors(content) and not any(_holds_tensors(content[name]) for name in inner):
            return content, choice
        if not inner:
            break
        others = [name for name in inner[1:] if _holds_tensors(content[name])]
        if others and not choice:
            choice = f"{inner[0]}; the file also holds {', '.join(others)}: FILE#{others[0]} takes that one"
        content = content[inner[0]]
    named = content.items() if isinstance(content, Mapping) else ()
    held = [str(name) for name, value in named if isinstance(value, (Mapping, nn.Module)) and _holds_tensors(value)]
    way = f"; there are tensors under {', '.join(held[:10])}: FILE#{held[0]} takes these" if held else ""
    raise UserError(
        f"{source} holds no weights: expected a dict of tensors, plain or under 'state_dict' or 'model'{way}"
    )


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, nn.Module) or any(isinstance(item, torch.Tensor) for item in value.values())


def _training(content: object) -> dict[str, Any]:
    """What timm's training program saves beside the weights: ``arch``, and the arguments that change windows."""
    if not isinstance(content, Mapping) or not isinstance(content.get("arch"), str):
        return {}
    arguments = getattr(content.get("args"), "__dict__", {})
    keyword = arguments.get("model_kwargs")
    found = {**arguments, **(keyword if isinstance(keyword, Mapping) else {}), "architecture": content["arch"]}
    size = found.get("input_size")
    if not found.get("img_size") and isinstance(size, (list, tuple)) and len(size) == 3:
        found["img_size"] = size[-1]
    return {key: found[key] for key in ("architecture", "img_size", "window_size") if found.get(key)}


def _read_json(file: Path) -> Any:
    content = read_bytes(file, at_most=_MAX_JSON)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON ({error})") from None


def _sibling_config(path: Path) -> Mapping[str, Any] | None:
    """A HuggingFace or timm config.json beside the weights; any other program's is none of ours."""
    file = path.parent / "config.json"
    if not os.path.isfile(file) or path.name.split(".")[0].split("-")[0] not in ("model", "pytorch_model"):
        return None
    config = _read_json(file)
    return config if isinstance(config, dict) else None


def _read_folder(folder: Path, source: str, trust: bool) -> Checkpoint:
    for name in _WEIGHTS:
        whole, index = folder / name, folder / f"{name}.index.json"
        if whole.is_file():
            files = [whole]
        elif index.is_file():
            files = _shards(index)
        else:
            continue
        if missing := [file for file in files if not file.is_file()]:
            raise UserError(f"checkpoint {source} lacks its shard {missing[0].name}: fetch it again")
        state_dict: dict[str, Any] = {}
        for file in files:
            state_dict |= unwrap(read_file(file, trust), f"checkpoint {file}")[0]
        check_tensors(state_dict, f"checkpoint {source}")
        config = _sibling_config(folder / name)
        return Checkpoint(state_dict, _name(folder / name, config), config, source)
    raise UserError(f"checkpoint folder {source} has none of {', '.join(_WEIGHTS)}: name the file itself")


def _shards(index: Path) -> list[Path]:
    """The files that an index of shards names, all of which lie beside it."""
    content = _read_json(index)
    shards = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise UserError(f"{index} is no index of shards: it has no weight_map of names of files")
    return [within(index.parent, name, f"{index}: shard") for name in sorted(set(shards.values()))]


def _read_timm(source: str, trust: bool) -> Checkpoint:
    try:
        import timm
    except ImportError:
        raise UserError(f"checkpoint {source} needs timm: pip install timm") from None
    name = source.removeprefix("timm:")
    cfg = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    if cfg is None or not cfg.hf_hub_id:
        raise UserError(f"checkpoint {source}: timm has no such weights; timm.list_pretrained('swinv2*') lists them")
    path = from_hub(source, cfg.hf_hub_id, ["model.safetensors"]) / "model.safetensors"
    state_dict, _ = unwrap(read_file(path, trust), f"checkpoint {source}")
    check_tensors(state_dict, f"checkpoint {source}")
    return Checkpoint(state_dict, f"{cfg.architecture}.{cfg.tag}", None, source)


def _read_hf(source: str, trust: bool) -> Checkpoint:
    repository = source.removeprefix("hf:")
    folder = from_hub(source, repository, ["config.json", "*.safetensors", "*.safetensors.index.json"])
    if not any(folder.glob("*.safetensors")):
        folder = from_hub(source, repository, ["config.json", "pytorch_model*"])
    found = _read_folder(folder, source, trust)
    found.name = f"{repository} {found.name}"
    return found
