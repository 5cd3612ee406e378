"""A plan as a table and a few lines."""

from __future__ import annotations

from rich.table import Table

from swinv2_dense.planning.placement import STRATEGIES
from swinv2_dense.planning.plan import GIB, Plan, Way

__all__ = ["flags", "summary", "table"]


ALONE = "ddp"  # what a single process does, whatever the strategy


def table(plan: Plan, devices: int, memory: float) -> Table:
    """One row a way to train: GiB on each of ``devices``, and from how many of ``memory`` bytes on it fits."""
    title = f"GiB on {'each of ' * (devices > 1)}{_gpus(devices)} at the worst moment"
    shown = Table("strategy", "precision", "checkpointing", title=title)
    parts = ("weights", "gradients", "optimizer", "activations", "attention", "buffers")
    for column in (*parts, "all", "fits", "from"):
        shown.add_column(column, justify="right")
    for way in plan.ways():
        if devices == 1 and way.strategy != ALONE:
            continue
        need = plan.need(way, devices)
        fits = need.total <= memory
        shown.add_row(
            way.strategy,
            way.precision,
            "yes" if way.with_cp else "no",
            *(f"{getattr(need, part) / GIB:.1f}" for part in parts),
            f"{need.total / GIB:.1f}",
            "yes" if fits else "no",
            _from(plan, way, memory),
            style="" if fits else "dim",
        )
    return shown


def _gpus(devices: int) -> str:
    return f"{devices} GPU{'s' * (devices > 1)}"


def _from(plan: Plan, way: Way, memory: float) -> str:
    together = plan.fewest_devices(way, memory, least=2)
    if way.strategy == ALONE and plan.need(way, 1).total <= memory:
        return "1 GPU" if together == 2 else "1 GPU alone"
    return "-" if together is None else _gpus(together)


def flags(plan: Plan, way: Way, devices: int) -> str:
    """What to add to ``swinv2 train`` for a way to train; a single process takes no strategy."""
    parts, options = [f"--strategy {way.strategy}"] if devices > 1 else [], []
    if way.precision == "amp":
        parts.append("--amp")
    if way.precision == "fp32" and "amp" not in STRATEGIES[way.strategy]:
        options.append("strategy.mixed_precision=None")
    if way.with_cp != plan.with_cp:
        options.append(f"model.backbone.with_cp={way.with_cp}")
    return " ".join([*parts, *(["--cfg-options", *options] if options else [])])


def summary(plan: Plan, devices: int, memory: float) -> list[str]:
    """What the table says in words: for each strategy the first way that fits, and what to add for it. Where one device
    does, that is all."""
    size = " x ".join(map(str, plan.size))
    enough = devices == 1 and any(plan.need(w, 1).total <= memory for w in plan.ways() if w.strategy == ALONE)
    strategies = [ALONE] if enough else dict.fromkeys(way.strategy for way in plan.ways())
    lines = [_verdict(plan, strategy, devices, memory) for strategy in strategies]
    return [f"{size}, batch {plan.batch} on each GPU:", *(f"  {line}" for line in lines)]


def _verdict(plan: Plan, strategy: str, devices: int, memory: float) -> str:
    def adding(way: Way, devices: int) -> str:
        return f": {added}" if (added := flags(plan, way, devices)) else ""

    ways = [way for way in plan.ways() if way.strategy == strategy]
    for way in ways:
        if (devices > 1 or strategy == ALONE) and plan.need(way, devices).total <= memory:
            return f"{strategy} fits {_gpus(devices)}{adding(way, devices)}"
    fewest = {way: found for way in ways if (found := plan.fewest_devices(way, memory, least=2)) is not None}
    if fewest:
        way = min(fewest, key=lambda way: fewest[way])
        return f"{strategy} needs {_gpus(fewest[way])}{adding(way, fewest[way])}"
    for way in ways:
        if strategy == ALONE and plan.need(way, 1).total <= memory:
            return f"{strategy} fits 1 GPU alone{adding(way, 1)}"
    return f"{strategy} does not fit, however many GPUs there are"
