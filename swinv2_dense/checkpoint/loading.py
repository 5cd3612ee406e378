"""Putting a checkpoint into a model: renamed, checked, with its pre-training windows.

However weights arrive (``init_cfg``, ``load_from``, ``load_state_dict``, :func:`load_pretrained`), they pass
:func:`adapt_state_dict`, which the backbone calls before its state dict is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn

from swinv2_dense.checkpoint.imagenet_rows import CLASSES_1K, CLASSES_22K, rows_of_1k
from swinv2_dense.checkpoint.inflation import inflate
from swinv2_dense.checkpoint.publishers import HEADS, Weights, from_authors, identify, to_authors
from swinv2_dense.checkpoint.reading import Checkpoint, Source, read, unwrap
from swinv2_dense.checkpoint.report import LoadReport, logger, show_window
from swinv2_dense.checkpoint.window_transfer import Window, anatomy, find_geometry, windows_per_stage
from swinv2_dense.errors import UserError
from swinv2_dense.layers.position_bias import bicubic

__all__ = ["adapt_state_dict", "load_pretrained"]

_BUFFER = "layers.{}.pretrained_window_size"
# What tells two architectures apart: how many blocks there are, and their kind of position bias.
_TELLING = re.compile(r"attn\.(logit_scale|cpb_mlp\.\S+)$")


class Backbone(Protocol):
    """What is asked of a backbone. Windows: tokens per axis and stage; ``pretrained_window_given`` is the config's."""

    window_size: tuple[Window, ...]
    pretrained_window_given: tuple[Window, ...] | None

    def set_pretrained_window_size(self, windows: tuple[Window, ...]) -> None: ...

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]: ...


def load_pretrained(
    model: nn.Module, source: Source, pretrained_window_size: Any = None, *, trust: bool = False, prefix: str = ""
) -> LoadReport:
    """Load any publisher's SwinV2 weights, and with them the pre-training window of each stage (section 3.3).

    A classification checkpoint fills the backbone, and norms it lacks start as plain LayerNorm. A checkpoint of a whole
    model that keeps its backbone where ``model`` does is loaded whole; what differs in shape (a head for other classes)
    is dropped and reported.

    Args:
        model: one of our backbones, or any model holding exactly one, before it is sharded.
        source: as :func:`swinv2_dense.checkpoint.read` takes it.
        pretrained_window_size: tokens; an int, a window, or one of these per stage. For weights that do not tell it:
            what they tell goes first.
        trust: allow a pickle to run its code.
        prefix: take only the part of the checkpoint whose names begin so, e.g. 'backbone' (mmengine's ``prefix``).

    Returns:
        What was done; it is logged too.

    Raises:
        UserError: the checkpoint cannot be read, does not fit (names the first parameter and both shapes), holds a
            number that is not finite, or nothing tells its pre-training window. The model is as before then.
    """
    if is_model_wrapper(model):
        model = cast(nn.Module, model.module)
    backbone, place = _find_backbone(model)
    stages, rank = len(backbone.window_size), len(backbone.window_size[0])
    argument = backbone.pretrained_window_given
    if pretrained_window_size is not None:
        argument = windows_per_stage(pretrained_window_size, stages, rank, "pretrained_window_size")
    checkpoint = read(source, trust=trust)
    if prefix:
        checkpoint = _part(checkpoint, prefix)
    weights = to_authors(checkpoint.state_dict, prefer=place, source=checkpoint.source)
    state_dict, report = _fit(backbone, weights, checkpoint, argument)
    report.loaded = [place + name for name in report.loaded]
    rest = _rest(model, weights, place, report)
    model.load_state_dict({place + key: value for key, value in state_dict.items()} | rest, strict=False)
    logger().info("%s", report)
    return report


def adapt_state_dict(
    backbone: nn.Module, state_dict: MutableMapping[str, Any], prefix: str = "", unexpected_keys: Iterable[str] = ()
) -> None:
    """Edit a state dict in place, so that under ``prefix`` it holds what ``backbone`` calls its own; set its windows.

    What the backbone's ``load_state_dict`` pre-hook does. Our own names are only checked for their shapes, and a few of
    them may come alone; another publisher's are renamed, and the report is logged.

    Args:
        backbone: the backbone about to be loaded.
        state_dict: the whole model's, or the part of it under ``prefix``.
        prefix: the backbone's place in the model, with a dot at its end, or empty.
        unexpected_keys: those that the modules above have not known.

    Raises:
        UserError: as :func:`load_pretrained`.
    """
    keys = [key for key in state_dict if key.startswith(prefix)]
    if not keys:
        if any("cpb_mlp" in key or key == "model" for key in unexpected_keys):  # the authors' files hold {'model': ...}
            raise UserError(
                f"the state dict is a backbone's alone, but this model keeps its backbone under {prefix!r}: use "
                f"{prefix}init_cfg=dict(type='Pretrained', checkpoint=...) or swinv2_dense.checkpoint.load_pretrained"
            )
        return
    content = {key[len(prefix) :]: state_dict[key] for key in keys}
    ours = cast(Backbone, backbone)
    expected = dict(backbone.named_parameters())
    saved = [content[name] for name in map(_BUFFER.format, range(len(ours.window_size))) if name in content]
    if saved or all(name in expected for name in content):
        whole = len(saved) == len(ours.window_size)
        resized = _resize_tables(expected, content)
        state_dict.update({prefix + name: table for name, table in resized.items()})
        content |= resized
        _check_own(expected, content, whole=whole)
        if whole:
            ours.set_pretrained_window_size(tuple(tuple(window.tolist()) for window in saved))
        elif any("cpb_mlp" in name for name in content):
            logger().warning("the state dict does not save its pre-training window: the backbone's own is kept")
        return
    if not prefix:
        content = dict(unwrap(content, "the state dict")[0])
    if identify(content) is None and any(name in expected for name in content):
        return  # a part of ours and strangers: whether that will do is load_state_dict's `strict` to say
    weights = to_authors(content)
    adapted, report = _fit(ours, weights, Checkpoint(content), ours.pretrained_window_given)
    for key in keys:
        del state_dict[key]
    state_dict.update({prefix + key: value for key, value in adapted.items()})
    ours.set_pretrained_window_size(report.pretrained_windows)
    logger().info("%s", report)


def _part(checkpoint: Checkpoint, prefix: str) -> Checkpoint:
    stem = prefix.removesuffix(".") + "."
    part = {key.removeprefix(stem): value for key, value in checkpoint.state_dict.items() if key.startswith(stem)}
    if not part:
        raise UserError(f"checkpoint {checkpoint.source} has no names that begin with {stem!r}: correct prefix")
    return replace(checkpoint, state_dict=part)


def _find_backbone(model: nn.Module) -> tuple[Backbone, str]:
    """Our backbone in a model and the prefix of its names."""
    found = [(name, module) for name, module in model.named_modules() if hasattr(module, "set_pretrained_window_size")]
    if len(found) != 1:
        raise UserError(
            f"{type(model).__name__} holds {len(found)} of our SwinV2 backbones, not one: give the backbone"
        )
    name, module = found[0]
    return cast(Backbone, module), f"{name}." if name else ""


def _check_own(expected: Mapping[str, Tensor], content: Mapping[str, Any], *, whole: bool) -> None:
    """Refuse our own weights of another architecture. Unless they are a ``whole`` backbone's, a part of it is fine."""
    for name, parameter in expected.items():
        if name in content and content[name].shape != parameter.shape:
            raise _misfit(name, content[name], parameter)
    # of every block; a sharded backbone has no such names, and its whole is not seen here
    blocks, theirs = ([name for name in names if _TELLING.search(name)] for names in (expected, content))
    if whole and "layers.0.blocks.0.attn.logit_scale" in expected:
        for name in (*blocks, *theirs):
            if (name in expected) != (name in content):
                raise _misfit(name, content.get(name), expected.get(name))


def _resize_tables(expected: Mapping[str, Tensor], content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Learnt tables of position biases whose window is another than the model's, resized to its."""
    return {
        name: bicubic(content[name], tuple(parameter.shape[1:]))
        for name, parameter in expected.items()
        if name.endswith("attn.cpb_mlp.weight") and name in content
        if content[name].ndim == parameter.ndim and content[name].shape != parameter.shape
    }


def _misfit(name: str, theirs: Tensor | None, ours: Tensor | None, detail: str = "") -> UserError:
    shapes = ["nothing" if tensor is None else str(tuple(tensor.shape)) for tensor in (theirs, ours)]
    key = "position_bias" if ".cpb_mlp." in name and (theirs is None or ours is None) else "arch"
    return UserError(
        f"{name}: the checkpoint has {shapes[0]}, the model {shapes[1]}; "
        f"set the backbone's {key} to the checkpoint's, or take another checkpoint{detail}"
    )


def _fit(
    backbone: Backbone, weights: Weights, checkpoint: Checkpoint, argument: tuple[Window, ...] | None
) -> tuple[dict[str, Tensor], LoadReport]:
    """The weights as a complete state dict of the backbone, which is not touched, and the report on them."""
    tensors = from_authors(weights, "ours")
    patch = dict(backbone.named_parameters())["patch_embed.proj.weight"]
    inflates = patch.ndim == 1 + tensors["patch_embed.proj.weight"].ndim
    if inflates:  # an image model's weights for a video model
        tensors = inflate(tensors, frames=patch.shape[2])
        argument = argument and tuple(window[1:] for window in argument)
    dropped = {kind: list(keys) for kind, keys in weights.dropped.items()}
    parameters = dict(backbone.named_parameters())
    tensors |= _resize_tables(parameters, tensors)
    found = f" (checkpoint: {anatomy(weights)})"
    plain_norms = [name for name in parameters if name not in tensors and re.match(r"norm\d", name)]
    for name, parameter in parameters.items():
        if name not in plain_norms and (name not in tensors or tensors[name].shape != parameter.shape):
            raise _misfit(name, tensors.get(name), parameter, found)
    for name in [name for name in tensors if name not in parameters]:
        if not re.match(r"norm\d", name):
            raise _misfit(name, tensors[name], None, found)
        dropped.setdefault("norm of a stage not in out_indices", []).append(name)
        del tensors[name]
    pretrained, told = _pretrained_windows(backbone, weights, checkpoint, argument)
    if inflates:  # nothing is known of time yet: its unit is the window that training will have
        time = backbone.pretrained_window_given or backbone.window_size
        pretrained = tuple((t[0], *window) for t, window in zip(time, pretrained, strict=True))
        told += ", inflated from an image model"
    report = LoadReport(
        publisher=weights.publisher,
        source=checkpoint.source,
        loaded=list(tensors),
        pretrained_windows=pretrained,
        windows=backbone.window_size,
        window_source=told,
        plain_norms=plain_norms,
        unexpected=weights.unexpected,
        dropped=dropped,
        choice=checkpoint.choice,
    )
    for name in plain_norms:
        fill = torch.ones if name.endswith("weight") else torch.zeros
        tensors[name] = fill(parameters[name].shape, dtype=parameters[name].dtype)
    tensors |= {_BUFFER.format(s): torch.tensor(window) for s, window in enumerate(pretrained)}
    return tensors, report


def _pretrained_windows(
    backbone: Backbone, weights: Weights, checkpoint: Checkpoint, argument: tuple[Window, ...] | None
) -> tuple[tuple[Window, ...], str]:
    """The pre-training window of every stage and what told it; a warning where ``argument`` says otherwise."""
    geometry = find_geometry(weights, checkpoint.name, checkpoint.config, argument)
    if geometry is None:
        axes = weights.tensors["patch_embed.proj.weight"].ndim - 2
        if all(n == 1 for window in backbone.window_size for n in window[-axes:]):
            return tuple(window[-axes:] for window in backbone.window_size), "nothing; windows of one token need none"
        raise UserError(
            f"nothing tells the pre-training window of checkpoint {checkpoint.source} (no coordinate tables, no "
            "config.json, no publisher's name): give it as pretrained_window_size, e.g. 8"
        )
    if argument is not None and argument != geometry.pretrained:
        logger().warning(
            "pretrained_window_size=%s disagrees with %s, which tells %s: the latter is used",
            *(" ".join(map(show_window, argument)), geometry.source, " ".join(map(show_window, geometry.pretrained))),
        )
    return geometry.pretrained, geometry.source


def _rest(model: nn.Module, weights: Weights, prefix: str, report: LoadReport) -> dict[str, Tensor]:
    """What a checkpoint holds beside the backbone and ``model`` has a place for.

    Of a whole model's checkpoint whose backbone lies where ``model``'s does, that is everything of the same shape. A
    classifier's head finds its place whatever the two call it; one for other classes stays as initialised.
    """
    places = {k: v for k, v in model.state_dict().items() if not k.startswith(prefix)} if prefix else {}
    whole = weights.prefix == prefix
    origins: dict[str, str] = {}  # place in the model -> key in the file
    for key in weights.other:
        names = ([key] if whole else []) + HEADS.get(weights.head_keys.get(key, ""), [])
        if place := next((name for name in names if name in places), None):
            origins[place] = key
    values = {place: _rows(weights.other[key], places[place], place) for place, key in origins.items()}
    fits = {place: value for place, value in values.items() if places[place].shape == value.shape}
    report.loaded += fits
    wanted = places if whole and fits else [name for names in HEADS.values() for name in names if name in places]
    report.missing += [place for place in wanted if place not in fits]
    kept = {kind: [key for key in keys if key not in origins.values()] for kind, keys in report.dropped.items()}
    shapes = [(p, key, tuple(weights.other[key].shape), tuple(places[p].shape)) for p, key in origins.items()]
    kept["of another shape"] = [f"{key} {theirs} for {ours}" for p, key, theirs, ours in shapes if p not in fits]
    kept["rows of ImageNet-22K beyond the 1,000 classes"] = [
        f"{key} {theirs}, kept {ours}" for p, key, theirs, ours in shapes if p in fits and theirs != ours
    ]
    report.dropped = {kind: keys for kind, keys in kept.items() if keys}
    return fits


def _rows(value: Tensor, place: Tensor, name: str) -> Tensor:
    """A head for 22K classes that comes into a place for 1,000 brings these classes' rows; else the value as it is."""
    heads = {name for names in HEADS.values() for name in names}
    shapes = (tuple(value.shape), (CLASSES_22K, *place.shape[1:]))
    if name in heads and len(place) == CLASSES_1K and shapes[0] == shapes[1]:
        return rows_of_1k(value)
    return value
