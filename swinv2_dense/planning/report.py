"""A plan as a table and a few lines."""

from __future__ import annotations

from rich.table import Table

from swinv2_dense.planning.plan import GIB, Plan, Way
from swinv2_dense.planning.sharding import STRATEGIES

__all__ = ["flags", "summary", "table"]


def table(plan: Plan, devices: int, memory: float) -> Table:
    """One row a way to train: GiB on each of ``devices``, and from how many of ``memory`` bytes on it fits."""
    shown = Table("strategy", "precision", "checkpointing", title=f"GiB on each of {devices} GPUs at the worst moment")
    parts = ("weights", "gradients", "optimizer", "activations", "attention", "buffers")
    for column in (*parts, "all", "fits", "from"):
        shown.add_column(column, justify="right")
    for way in plan.ways():
        need, fewest = plan.need(way, devices), plan.fewest_devices(way, memory)
        fits = need.total <= memory
        shown.add_row(
            way.strategy,
            way.precision,
            "yes" if way.with_cp else "no",
            *(f"{getattr(need, part) / GIB:.1f}" for part in parts),
            f"{need.total / GIB:.1f}",
            "yes" if fits else "no",
            "-" if fewest is None else f"{fewest} GPU{'s' * (fewest > 1)}",
            style="" if fits else "dim",
        )
    return shown


def flags(plan: Plan, way: Way) -> str:
    """What to add to ``tools/train.py`` for a way to train."""
    parts, options = [f"--strategy {way.strategy}"], []
    if way.precision == "amp":
        parts.append("--amp")
    if way.precision == "fp32" and "amp" not in STRATEGIES[way.strategy]:
        options.append("strategy.mixed_precision=None")
    if way.with_cp != plan.with_cp:
        options.append(f"model.backbone.with_cp={way.with_cp}")
    return " ".join([*parts, *(["--cfg-options", *options] if options else [])])


def summary(plan: Plan, devices: int, memory: float) -> list[str]:
    """What the table says in words: for each strategy the first way that fits, and what to add for it."""
    size, lines = " x ".join(map(str, plan.size)), []
    for strategy in dict.fromkeys(way.strategy for way in plan.ways()):
        ways = [way for way in plan.ways() if way.strategy == strategy]
        fewest = {way: found for way in ways if (found := plan.fewest_devices(way, memory)) is not None}
        fitting = [way for way in fewest if plan.need(way, devices).total <= memory]
        if fitting:
            way = fitting[0]
            lines.append(f"{strategy} fits {devices} GPUs: {flags(plan, way)}")
        elif fewest:
            way = min(fewest, key=lambda way: fewest[way])
            lines.append(f"{strategy} needs {fewest[way]} GPUs: {flags(plan, way)}")
        else:
            lines.append(f"{strategy} does not fit, however many GPUs there are")
    return [f"{size}, batch {plan.batch} on each GPU:", *(f"  {line}" for line in lines)]
