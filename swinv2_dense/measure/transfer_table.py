"""The paper's table 1 in small: how a classifier takes a larger image and window, by its position bias.

A small SwinV2 is trained at 64 x 64 with windows of 4 tokens, then tested at larger sizes, the window growing with the
image, without any training there and after a little of it. Every run (bias and seed) is one file; a run that is there
is not run again.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from swinv2_dense.errors import UserError
from swinv2_dense.measure.runs import cell, mean_and_spread, run_missing
from swinv2_dense.measure.small_classifier import Classifier, Images, Training, accuracy, fit

__all__ = ["BIASES", "Protocol", "draw", "run", "table"]

BIASES = ("table", "linear_cpb", "log_cpb")  # as in the paper's table
_TITLES = {"table": "table (bicubic)", "linear_cpb": "linear CPB", "log_cpb": "log CPB"}


@dataclass(frozen=True)
class Protocol:
    """What is trained and tested. ``sides``: pixels; the first is trained at. A window has side / 16 tokens, in later
    stages no more than the map. ``fine_tuned``: the sides that are fine-tuned at."""

    embed_dims: int = 32
    depths: tuple[int, ...] = (1, 1, 2, 1)
    sides: tuple[int, ...] = (64, 96, 128, 160, 192)
    fine_tuned: tuple[int, ...] = (96, 128, 160, 192)
    epochs: float = 60
    lr: float = 1e-3
    fine_tune_epochs: float = 2
    fine_tune_lr: float = 1e-4
    images: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if any(side < 32 or side % 32 for side in self.sides):
            raise UserError(f"--sides {' '.join(map(str, self.sides))}: give multiples of 32 pixels")
        if strangers := sorted(set(self.fine_tuned) - set(self.sides)):
            raise UserError(f"--fine-tuned {strangers[0]}: is not among the --sides")

    def model(self, bias: str, side: int, classes: int) -> Classifier:
        """The classifier for images of ``side`` pixels; its weights are those of the seed in force."""
        stages = len(self.depths)
        windows = [max(1, min(side // 16, side // (4 * 2**s))) for s in range(stages)]
        heads = tuple(max(1, self.embed_dims // 32) * 2**s for s in range(stages))
        arch = dict(embed_dims=self.embed_dims, depths=self.depths, num_heads=heads)
        return Classifier(classes, arch=arch, window_size=windows, position_bias=bias, drop_path_rate=0.0)


def run(
    protocol: Protocol, bias: str, seed: int, train: Images, test: Images, log: Callable[[str], None] = print
) -> dict[str, Any]:
    """One run: top-1 in per cent by side, without and with fine-tuning there."""
    start, classes = time.time(), len(train.classes)
    first, *_ = protocol.sides
    torch.manual_seed(seed)
    trained = protocol.model(bias, first, classes)
    # half as large again, so that crops keep their detail; no larger than the images are
    largest = train.pixels.shape[-1]
    source = {side: train.resized(min(largest, side * 3 // 2)) for side in (first, *protocol.fine_tuned)}
    losses = fit(
        trained, source[first], first, Training(protocol.epochs, protocol.lr, warmup=protocol.epochs / 10), seed
    )
    transferred: dict[int, float] = {}
    fine_tuned: dict[int, float] = {}
    for side in protocol.sides:
        model = protocol.model(bias, side, classes)
        model.load_state_dict(trained.state_dict())
        at_side = test.resized(side)
        transferred[side] = accuracy(model, at_side)
        if side in protocol.fine_tuned:
            fit(model, source[side], side, Training(protocol.fine_tune_epochs, protocol.fine_tune_lr), seed)
            fine_tuned[side] = accuracy(model, at_side)
        after = f", fine-tuned {fine_tuned[side]:.1f}" if side in fine_tuned else ""
        log(f"{bias} seed {seed}, {side} px: {transferred[side]:.1f}{after}")
    return {
        "bias": bias,
        "seed": seed,
        "transferred": transferred,
        "fine_tuned": fine_tuned,
        "last_loss": statistics.fmean(losses[-20:]),
        "seconds": time.time() - start,
    }


def run_all(
    protocol: Protocol,
    biases: Sequence[str],
    seeds: Sequence[int],
    train: Images,
    test: Images,
    out: Path,
    log: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Every run that is not there yet, one seed after another, and all of them."""
    jobs = (
        (f"{bias}_seed{seed}", partial(run, protocol, bias, seed, train, test, log))
        for seed in seeds
        for bias in biases
    )
    runs = run_missing(jobs, asdict(protocol), out / "runs")
    for done in runs:  # a file's keys are text
        for part in ("transferred", "fine_tuned"):
            done[part] = {int(side): value for side, value in done[part].items()}
    return runs


def _cell(runs: Sequence[Mapping[str, Any]], part: str, side: int) -> str:
    return cell([r[part][side] for r in runs if side in r[part]])


def table(runs: Sequence[Mapping[str, Any]], protocol: Protocol) -> str:
    """Markdown: mean and sample standard deviation over the seeds, per bias and side; the change against the first
    side below."""
    first = protocol.sides[0]
    columns = [f"{side}² W{side // 16}" for side in protocol.sides]
    lines = ["| bias | seeds | | " + " | ".join(columns) + " |", "|---|---|---|" + "---|" * len(columns)]
    for bias in BIASES:
        of_bias = [r for r in runs if r["bias"] == bias]
        if not of_bias:
            continue
        changes = [{s: r["transferred"][s] - r["transferred"][first] for s in protocol.sides} for r in of_bias]
        rows = {
            "as trained": [_cell(of_bias, "transferred", side) for side in protocol.sides],
            "change": [cell([c[s] for c in changes], "+") for s in protocol.sides],
            "fine-tuned": [_cell(of_bias, "fine_tuned", side) for side in protocol.sides],
        }
        for i, (name, cells) in enumerate(rows.items()):
            head = f"| {_TITLES[bias]} | {len(of_bias)} |" if i == 0 else "| | |"
            lines.append(f"{head} {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(runs: Sequence[Mapping[str, Any]], protocol: Protocol) -> Any:
    """A matplotlib figure: top-1 over the side, a line a bias, without and with fine-tuning; bars span the seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, part, title in zip(
        figure.subplots(1, 2, sharey=True),
        ("transferred", "fine_tuned"),
        ("as trained", "after a short fine-tuning"),
        strict=True,
    ):
        for bias, colour in zip(BIASES, ("tab:red", "tab:orange", "tab:blue"), strict=True):
            of_bias = [r for r in runs if r["bias"] == bias]
            sides = [side for side in protocol.sides if any(side in r[part] for r in of_bias)]
            means = [mean_and_spread([r[part][side] for r in of_bias if side in r[part]]) for side in sides]
            if sides:
                axes.errorbar(
                    sides, *zip(*means, strict=True), color=colour, marker="o", capsize=3, label=_TITLES[bias]
                )
        axes.set(title=title, xlabel="side in pixels (window = side / 16 tokens)", xticks=protocol.sides)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("top-1, per cent")
    figure.axes[0].legend()
    return figure
