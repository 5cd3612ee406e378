"""The paper's figure 2 in small: how large features become, block by block, with each place of the norms.

A small SwinV2 whose third stage has a growing number of blocks, with pre-norm and with res-post-norm, new and after a
short training. Every run (norm, blocks and seed) is one file; a run that is there is not run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from swinv2_dense.engine.hooks.amplitude_hook import watch_blocks
from swinv2_dense.errors import UserError
from swinv2_dense.measure.pre_norm import use_pre_norm
from swinv2_dense.measure.runs import Run, run_missing
from swinv2_dense.measure.small_classifier import Classifier, Images, Training, accuracy, fit, normalised

__all__ = ["NORMS", "Protocol", "draw", "run", "run_all", "table"]

NORMS = ("pre", "post")
_TITLES = {"pre": "pre-norm", "post": "res-post-norm"}
_WATCHED = 64  # test images


@dataclass(frozen=True)
class Protocol:
    """What is trained, at ``side`` pixels with windows of side / 16 tokens. Stages 1, 2 and 4 have one block each."""

    embed_dims: int = 32
    side: int = 64
    epochs: float = 2
    lr: float = 1e-3
    images: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.side < 32 or self.side % 32:
            raise UserError(f"--side {self.side}: give a multiple of 32 pixels")

    def model(self, norm: str, blocks: int, classes: int) -> Classifier:
        """A classifier with so many blocks in its third stage; its weights are those of the seed in force."""
        heads = tuple(max(1, self.embed_dims // 32) * 2**s for s in range(4))
        windows = [max(1, min(self.side // 16, self.side // (4 * 2**s))) for s in range(4)]
        arch = dict(embed_dims=self.embed_dims, depths=(1, 1, blocks, 1), num_heads=heads)
        model = Classifier(classes, arch=arch, window_size=windows, drop_path_rate=0.0)
        if norm == "pre":
            use_pre_norm(model.backbone)
        return model


@torch.no_grad()
def _amplitudes(model: nn.Module, images: Images) -> list[float]:
    model.eval()
    with watch_blocks(model) as seen:
        model(normalised(images.pixels[:: max(1, len(images.labels) // _WATCHED)]))
    return seen.stacked().tolist()


def run(
    protocol: Protocol,
    norm: str,
    blocks: int,
    seed: int,
    train: Images,
    test: Images,
    log: Callable[[str], None] = print,
) -> Run:
    """One run: the variance of a channel behind every block, new and trained."""
    start = time.time()
    torch.manual_seed(seed)
    model = protocol.model(norm, blocks, len(train.classes))
    at_side = test.resized(protocol.side)
    new = _amplitudes(model, at_side)
    training = Training(protocol.epochs, protocol.lr, warmup=protocol.epochs / 10)
    losses = fit(model, train, protocol.side, training, seed)
    found: Run = {
        "norm": norm,
        "blocks": blocks,
        "seed": seed,
        "new": new,
        "trained": _amplitudes(model, at_side),
        "top1": accuracy(model, at_side),
        "loss": sum(losses[-20:]) / len(losses[-20:]),
        "seconds": time.time() - start,
    }
    log(f"{_TITLES[norm]}, {blocks} blocks, seed {seed}: {_growth(found, 'new'):.1f}, {_growth(found, 'trained'):.1f}")
    return found


def run_all(
    protocol: Protocol,
    depths: Sequence[int],
    seeds: Sequence[int],
    train: Images,
    test: Images,
    out: Path,
    log: Callable[[str], None] = print,
) -> list[Run]:
    """Every run that is not there yet, and all of them."""
    jobs = (
        (f"{norm}_{blocks}_seed{seed}", partial(run, protocol, norm, blocks, seed, train, test, log))
        for seed in seeds
        for blocks in depths
        for norm in NORMS
    )
    return run_missing(jobs, asdict(protocol), out / "runs")


def _third_stage(done: Mapping[str, Any], when: str) -> list[float]:
    values: list[float] = done[when]
    return values[2 : 2 + done["blocks"]]


def _growth(done: Mapping[str, Any], when: str) -> float:
    """How many times the variance behind the third stage's first block the largest in it is."""
    values = _third_stage(done, when)
    return max(values) / values[0]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: for every norm and depth the variance behind the third stage's first and last block, means over the
    seeds; and how far it grows in the stage."""
    lines = [
        "| blocks of stage 3 | norm | seeds | new: first | last | growth | trained: first | last | growth | top-1 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for blocks in sorted({r["blocks"] for r in runs}):
        for norm in NORMS:
            of_norm = [r for r in runs if (r["blocks"], r["norm"]) == (blocks, norm)]
            if not of_norm:
                continue
            cells = []
            for when in ("new", "trained"):
                stages = [_third_stage(r, when) for r in of_norm]
                cells += [f"{_mean([s[0] for s in stages]):.3g}", f"{_mean([s[-1] for s in stages]):.3g}"]
                cells.append(f"{_mean([_growth(r, when) for r in of_norm]):.1f}x")
            cells.append(f"{_mean([r['top1'] for r in of_norm]):.1f}")
            lines.append(f"| {blocks} | {_TITLES[norm]} | {len(of_norm)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(runs: Sequence[Mapping[str, Any]]) -> Any:
    """A matplotlib figure: the variance behind every block, a panel a norm, dotted new and solid trained."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = dict(zip(NORMS, figure.subplots(1, 2, sharey=True), strict=True))
    depths = sorted({r["blocks"] for r in runs})
    for norm, axes in panels.items():
        for i, blocks in enumerate(depths):
            colour = mpl.colormaps["viridis"](i / max(len(depths) - 1, 1) * 0.9)
            of_depth = [r for r in runs if (r["blocks"], r["norm"]) == (blocks, norm)]
            for when, style in (("new", ":"), ("trained", "-")):
                for k, done in enumerate(of_depth):
                    label = f"1 + 1 + {blocks} + 1 blocks" if when == "trained" and k == 0 else None
                    places = range(1, len(done[when]) + 1)
                    axes.plot(places, done[when], style, color=colour, marker="o", markersize=3, label=label)
        axes.set(title=f"{_TITLES[norm]} (dotted: new, solid: trained)", xlabel="block", yscale="log")
        axes.grid(axis="y", alpha=0.3)
    panels["pre"].set_ylabel("average variance of a channel")
    panels["pre"].legend(fontsize="small")
    return figure
