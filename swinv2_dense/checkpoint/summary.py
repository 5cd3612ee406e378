"""What is in a checkpoint: publisher, architecture, windows, head."""

from __future__ import annotations

from dataclasses import dataclass

from swinv2_dense.checkpoint.reading import Checkpoint
from swinv2_dense.checkpoint.renaming import Weights, to_authors
from swinv2_dense.checkpoint.report import show_window
from swinv2_dense.checkpoint.window_transfer import Anatomy, Geometry, Window, anatomy, find_geometry

__all__ = ["Summary", "image_size_of", "summarize"]


def image_size_of(windows: tuple[Window, ...], patch: Window) -> Window:
    """Pixels of the image whose last stage is one window: so all published classifiers were trained."""
    return tuple(w * p * 2 ** (len(windows) - 1) for w, p in zip(windows[-1], patch, strict=True))


@dataclass(frozen=True)
class Summary:
    """What :func:`summarize` finds. ``geometry`` is None where nothing says what the windows are; ``parameters``
    counts the backbone's; sizes are in pixels."""

    source: str
    weights: Weights
    anatomy: Anatomy
    geometry: Geometry | None
    parameters: int

    def rows(self) -> list[tuple[str, str]]:
        """Label and text, as ``swinv2 checkpoint inspect`` prints them."""
        shape, geometry, weights = self.anatomy, self.geometry, self.weights
        extra = any(name.endswith("norm3.weight") and ".blocks." in name for name in weights.tensors)
        rows = [
            ("publisher", weights.publisher + (f", under {weights.prefix!r}" if weights.prefix else "")),
            ("architecture", f"{shape}{', extra norms' if extra else ''}"),
            ("input", f"{shape.in_channels} channels, patches of {show_window(shape.patch_size)} pixels"),
            ("parameters", f"{self.parameters:,} without head"),
            ("head", f"{shape.num_classes} classes" if shape.num_classes else "none"),
        ]
        if geometry is None:
            rows.append(("windows", "unknown: no coordinate tables, config.json or publisher's name says them"))
        else:
            if geometry.windows:  # clamped to the maps, which what our own files save is not
                pretraining = show_window(image_size_of(geometry.pretrained, shape.patch_size))
                rows.append(("pre-training size", f"{pretraining} pixels, by the last stage's window"))
            rows += [(f"window, stage {s}", _show(geometry, s)) for s in range(len(shape.depths))]
            rows.append(("windows from", geometry.source))
        beside = {kind: keys for kind, keys in weights.dropped.items() if kind != "head"}
        rows += [(f"also: {kind}", f"{len(keys)} keys, {keys[0]} ...") for kind, keys in beside.items()]
        if weights.unexpected:
            rows.append(("unexpected", f"{len(weights.unexpected)} keys, {weights.unexpected[0]} ..."))
        return rows


def _show(geometry: Geometry, stage: int) -> str:
    used = f", used with {show_window(geometry.windows[stage])}" if geometry.windows else ""
    return f"pre-trained {show_window(geometry.pretrained[stage])}{used}"


def summarize(checkpoint: Checkpoint) -> Summary:
    """Describe a checkpoint.

    Raises:
        UserError: there is no SwinV2 in it.
    """
    weights = to_authors(checkpoint.state_dict, prefer="backbone.", source=checkpoint.source)
    geometry = find_geometry(weights, checkpoint.name, checkpoint.config, training=checkpoint.training)
    count = sum(tensor.numel() for tensor in weights.tensors.values())
    return Summary(checkpoint.source, weights, anatomy(weights), geometry, count)
