"""Small random classifiers of every publisher, and their checkpoints exactly as the publisher saves them.

All take images of ``size`` pixels, were last used with ``window`` and pre-trained with ``pretrained`` (one a stage).
What the authors' code saves is written down here once more, with loops, from their layout.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.models.oracles import ARCH, randomize

SIZE, WINDOW, PRETRAINED = 64, 4, [3, 3, 2, 2]  # 16, 8, 4, 2 tokens: the last stage runs at a window of 2
USED = [4, 4, 4, 2]
CLASSES = 5


@dataclass
class Published:
    """``features``: image -> B x C x H x W after the last norm; ``logits``: image -> B x classes or None."""

    model: nn.Module
    state_dict: dict[str, Tensor]
    features: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor] | None


def _timm(size: int = SIZE, window: int = WINDOW, pretrained: list[int] = PRETRAINED) -> nn.Module:
    from timm.models.swin_transformer_v2 import SwinTransformerV2

    model = SwinTransformerV2(
        img_size=size,
        window_size=window,
        num_classes=CLASSES,
        embed_dim=ARCH["embed_dims"],
        depths=tuple(ARCH["depths"]),
        num_heads=tuple(ARCH["num_heads"]),
        pretrained_window_sizes=tuple(pretrained),
    )
    return randomize(model)


def _of_timm(model: nn.Module, state_dict: dict[str, Tensor]) -> Published:
    return Published(model, state_dict, lambda x: model.forward_features(x).permute(0, 3, 1, 2), model)


def timm(**options: Any) -> Published:
    model = _timm(**options)
    return _of_timm(model, model.state_dict())


def microsoft(size: int = SIZE, window: int = WINDOW, pretrained: list[int] = PRETRAINED) -> Published:
    """timm's model is the authors'; what differs is where patch merging is counted, the head's name and the buffers."""
    model = _timm(size=size, window=window, pretrained=pretrained)
    state_dict: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        key = re.sub(r"^layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key)
        state_dict[key.replace("head.fc", "head")] = value
    for s, depth in enumerate(ARCH["depths"]):
        grid = size // 4 // 2**s
        w = min(window, grid)
        for b in range(depth):
            block = f"layers.{s}.blocks.{b}"
            state_dict[f"{block}.attn.relative_coords_table"] = coords_table((w, w), (pretrained[s] or w,) * 2)
            state_dict[f"{block}.attn.relative_position_index"] = position_index(w)
            if b % 2 and grid > w:
                state_dict[f"{block}.attn_mask"] = attn_mask(grid, w)
    return _of_timm(model, state_dict)


def simmim(**options: Any) -> Published:
    found = microsoft(**options)
    encoder = {f"encoder.{k}": v for k, v in found.state_dict.items() if not k.startswith("head")}
    decoder = {"decoder.0.weight": torch.randn(3072, 256, 1, 1), "decoder.0.bias": torch.randn(3072)}
    found.state_dict = {"encoder.mask_token": torch.randn(1, 1, 32), **encoder, **decoder}
    found.logits = None
    return found


def huggingface(size: int = SIZE, window: int = WINDOW, pretrained: list[int] = PRETRAINED) -> Published:
    from transformers import Swinv2Config, Swinv2ForImageClassification

    config = Swinv2Config(
        image_size=size,
        window_size=window,
        embed_dim=ARCH["embed_dims"],
        depths=ARCH["depths"],
        num_heads=ARCH["num_heads"],
        pretrained_window_sizes=pretrained,
        num_labels=CLASSES,
    )
    model = randomize(Swinv2ForImageClassification(config))

    def features(x: Tensor) -> Tensor:
        tokens = model.swinv2(x).last_hidden_state
        return tokens.transpose(1, 2).unflatten(2, (x.shape[2] // 32, x.shape[3] // 32))

    return Published(model, model.state_dict(), features, lambda x: model(x).logits)


def mmpretrain(
    size: int = SIZE, window: int = WINDOW, pretrained: list[int] = PRETRAINED, extra_norms: int = 0
) -> Published:
    from mmpretrain.models import ImageClassifier

    model = ImageClassifier(
        backbone=dict(
            type="SwinTransformerV2",
            arch={**ARCH, "extra_norm_every_n_blocks": extra_norms},
            img_size=size,
            window_size=[min(window, size // 4 // 2**s) for s in range(4)],
            pretrained_window_sizes=pretrained,
        ),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type="LinearClsHead", num_classes=CLASSES, in_channels=8 * ARCH["embed_dims"]),
    )
    randomize(model)
    return Published(
        model, model.state_dict(), lambda x: model.backbone(x)[0], lambda x: model.head(model.neck(model.backbone(x)))
    )


def torchvision(window: int = WINDOW) -> Published:
    """It has one window in all stages, whose own unit the bias has, and pads maps that are smaller: take 128 pixels."""
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

    model = SwinTransformer(
        patch_size=[4, 4],
        embed_dim=ARCH["embed_dims"],
        depths=ARCH["depths"],
        num_heads=ARCH["num_heads"],
        window_size=[window, window],
        num_classes=CLASSES,
        block=SwinTransformerBlockV2,
        downsample_layer=PatchMergingV2,
    )
    randomize(model)  # the keys' part of the bias too, which its forward does not use
    return Published(model, model.state_dict(), lambda x: model.permute(model.norm(model.features(x))), model)


def released_simmim(**options: Any) -> Published:
    """As the authors offer them: the meta network under the name it had before they published their code."""
    found = simmim(**options)
    found.state_dict = {key.replace("cpb_mlp", "rpe_mlp"): value for key, value in found.state_dict.items()}
    return found


MAKERS: dict[str, Callable[..., Published]] = {
    "microsoft": microsoft,
    "timm": timm,
    "huggingface": huggingface,
    "mmpretrain": mmpretrain,
    "simmim": simmim,
}


def save(published: Published, publisher: str, folder: Path, name: str = "checkpoint") -> Path:
    """The file or folder that the publisher would offer."""
    path = folder / f"{name}.pth"
    if publisher == "huggingface":
        published.model.save_pretrained(folder / name)  # type: ignore[operator]
        return folder / name
    if publisher == "timm":
        from safetensors.torch import save_file

        path = path.with_suffix(".safetensors")
        save_file(published.state_dict, path)
    else:
        key = "state_dict" if publisher == "mmpretrain" else "model"
        torch.save({key: published.state_dict, "meta": {"epoch": 3}}, path)
    return path


def coords_table(window: tuple[int, ...], pretrained: tuple[int, ...]) -> Tensor:
    """1 x (2W_1 - 1) x ... x d, by the formula, one entry at a time."""
    table = torch.zeros(1, *(2 * w - 1 for w in window), len(window))
    for cell in torch.cartesian_prod(*(torch.arange(2 * w - 1) for w in window)):
        for axis, (w, pre) in enumerate(zip(window, pretrained, strict=True)):
            delta = int(cell[axis]) - (w - 1)
            t = 8 * delta / (pre - 1) if pre > 1 else float("nan")  # the authors divide 0 by 0 there
            table[(0, *cell.tolist(), axis)] = math.copysign(math.log2(1 + abs(t)) / 3, t)
    return table


def position_index(w: int) -> Tensor:
    def entry(i: int, j: int) -> int:
        dy, dx = i // w - j // w + w - 1, i % w - j % w + w - 1
        return dy * (2 * w - 1) + dx

    return torch.tensor([[entry(i, j) for j in range(w * w)] for i in range(w * w)])


def attn_mask(grid: int, w: int) -> Tensor:
    """After the shift the last w // 2 rows and columns come from the other side of the map."""
    side = grid // w

    def beyond(window: int, token: int) -> tuple[bool, bool]:
        y, x = window // side * w + token // w, window % side * w + token % w
        return y >= grid - w // 2, x >= grid - w // 2

    windows = [[beyond(n, i) for i in range(w * w)] for n in range(side * side)]
    return torch.tensor([[[0.0 if a == b else -100.0 for b in tokens] for a in tokens] for tokens in windows])
