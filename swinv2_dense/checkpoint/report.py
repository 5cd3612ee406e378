"""What a load did, as a value and as a table."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from mmengine.logging import MMLogger

from swinv2_dense.checkpoint.window_transfer import Window
from swinv2_dense.errors import printable

__all__ = ["LoadReport", "logger", "show_window"]


def logger() -> logging.Logger:
    """mmengine's current logger where a runner made one, else ours."""
    if MMLogger._instance_dict:
        return MMLogger.get_current_instance()
    return logging.getLogger("swinv2_dense")


def show_window(window: Window) -> str:
    return "x".join(map(str, window))


@dataclass
class LoadReport:
    """What a load did.

    ``loaded``, ``missing``: names of the model. ``plain_norms``: norms of the model that classification weights do not
    have; they start as plain LayerNorm. ``dropped``: keys of the checkpoint without use here, by what they are;
    ``unexpected``: those that nothing is known about. ``pretrained_windows``, ``windows``: tokens per axis and stage,
    of the pre-training and of the model; ``window_source``: where the former were found. ``choice``: which of several
    sets of weights in the file was loaded, empty where there is one. ``channels``: of the checkpoint's images and of
    the model's, to which the patch embedding was adapted.
    """

    publisher: str
    source: str
    loaded: list[str]
    pretrained_windows: tuple[Window, ...]
    windows: tuple[Window, ...]
    window_source: str
    plain_norms: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    choice: str = ""
    channels: tuple[int, int] = (3, 3)

    def __str__(self) -> str:
        rows = [("publisher", self.publisher), ("loaded", f"{len(self.loaded)} tensors")]
        if self.channels[0] != self.channels[1]:
            rows.append(("adapted", f"patch_embed.proj.weight from {self.channels[0]} channels to {self.channels[1]}"))
        if self.choice:
            rows.insert(1, ("weights", self.choice))
        if self.plain_norms:
            rows.append(("new", f"{_some(self.plain_norms)}: not in the checkpoint, start as plain LayerNorm"))
        for label, keys in (("missing", self.missing), ("unexpected", self.unexpected)):
            rows.append((label, f"{len(keys)}: {_some(keys)}" if keys else "none"))
        rows += [("dropped", f"{kind}: {_some(keys)}") for kind, keys in self.dropped.items()]
        for stage, (pretrained, window) in enumerate(zip(self.pretrained_windows, self.windows, strict=True)):
            rows.append((f"stage {stage}", f"pre-trained window {show_window(pretrained)} -> {show_window(window)}"))
        rows.append(("windows", f"from {self.window_source}"))
        width = max(len(label) for label, _ in rows)
        lines = [f"Checkpoint {self.source}", *(f"  {label:<{width}}  {text}" for label, text in rows)]
        return "\n".join(map(printable, lines))


def _some(keys: list[str], limit: int = 4) -> str:
    rest = f", ... ({len(keys) - limit} more)" if len(keys) > limit else ""
    return ", ".join(keys[:limit]) + rest
