"""What a training needs on each device, for every way to shard it, in every precision, with and without checkpointing
of activations; and which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from swinv2_dense.errors import UserError
from swinv2_dense.planning.placement import STRATEGIES, Placement, Weights, place, weigh
from swinv2_dense.planning.step import PRECISIONS, Step, build, measure

__all__ = ["GIB", "Need", "Plan", "Way", "make_plan"]

GIB = 2**30
MOST_DEVICES = 4096


@dataclass(frozen=True)
class Way:
    """One way to train: a strategy, a precision, and whether the backbone computes activations again."""

    strategy: str
    precision: str
    with_cp: bool


@dataclass(frozen=True)
class Need:
    """Bytes on one device when most are in use. ``optimizer`` counts what its step needs besides, if that is then;
    ``buffers`` are those of communication."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    attention: float
    buffers: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.attention + self.buffers


@dataclass(frozen=True)
class Plan:
    """``flops``: floating-point operations of a step's forward and backward pass, on one device, without those that
    checkpointing repeats; ``options``: the config of each strategy."""

    size: tuple[int, ...]
    batch: int
    weights: Weights
    flops: int
    with_cp: bool
    steps: Mapping[tuple[str, bool], Step]
    options: Mapping[str, Mapping[str, Any]]

    def ways(self) -> list[Way]:
        """Every way, the config's own checkpointing first."""
        found = []
        for strategy, precisions in STRATEGIES.items():
            for precision in precisions:
                found += [
                    Way(strategy, precision, with_cp)
                    for with_cp in (self.with_cp, not self.with_cp)
                    if (precision, with_cp) in self.steps
                ]
        return found

    def need(self, way: Way, devices: int) -> Need:
        """What a device of ``devices`` needs at its worst moment: in the step, or in the update that follows."""
        placed = place(way.strategy, way.precision, self.weights, devices, self.options.get(way.strategy))
        step = self.steps[way.precision, way.with_cp]
        made = max(moment.gradients for moment in step.moments)
        peak = step.peak(0 if placed.at_once else placed.gradients / made)
        there = 1 if placed.at_once else peak.gradients / made
        in_step = _need(placed, there, 0.0, peak.activations, peak.attention)
        in_update = _need(placed, 1, placed.update, 0.0, 0.0)
        return max(in_step, in_update, key=lambda need: need.total)

    def fewest_devices(self, way: Way, memory: float, least: int = 1) -> int | None:
        """The least number of devices of ``memory`` bytes that will do, ``least`` or more, or None. Two may need more
        than one does, which sends nothing; from two on none needs more than fewer do."""
        if self.need(way, least).total <= memory:
            return least
        if self.need(way, MOST_DEVICES).total > memory:
            return None
        low, high = least + 1, MOST_DEVICES
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.need(way, middle).total <= memory else (middle + 1, high)
        return low


def _need(placed: Placement, gradients: float, update: float, activations: float, attention: float) -> Need:
    return Need(
        weights=placed.weights,
        gradients=placed.gradients * gradients,
        optimizer=placed.optimizer + update,
        activations=activations - attention,
        attention=attention,
        buffers=placed.buffers,
    )


def make_plan(
    cfg: Config,
    size: tuple[int, ...],
    batch: int,
    *,
    device: str = "cuda",
    precisions: Collection[str] = PRECISIONS,
    checkpointing: Collection[bool] = (True, False),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: Callable[[str], object] = lambda what: None,
) -> Plan:
    """Measure a config's training step without numbers.

    Args:
        size: of an image, (H, W), or clip, (T, H, W).
        batch: per device.
        device: 'cuda', or 'cpu' (fp32 alone).
        options: the config of each strategy.
        progress: called with a line on what is being done.

    Raises:
        UserError: the config has no backbone of ours or no optimizer.
    """
    if not str(cfg.get("model", {}).get("backbone", {}).get("type", "")).startswith("swinv2_dense."):
        raise UserError("model.backbone is none of swinv2_dense: plans are made for its backbones alone")
    if "optim_wrapper" not in cfg:
        raise UserError("the config has no optim_wrapper: a plan needs to know the optimizer")
    progress("counting parameters")
    weights = weigh(build(cfg), cfg)
    steps, flops = {}, 0
    for with_cp in checkpointing:
        for precision in precisions if device == "cuda" else ("fp32",):
            progress(f"one step, {precision}{', activations computed again' if with_cp else ''}")
            model = build(cfg, with_cp=with_cp)
            step = measure(model, size, batch=batch, precision=precision, device=device)
            steps[precision, with_cp] = step
            flops = step.flops if not flops else min(flops, step.flops)
    own = bool(cfg.model.backbone.get("with_cp", False))
    return Plan(size, batch, weights, flops, own, steps, options or {})
