"""How large features are behind every block: what section 3.2 of the paper found to run away in large models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from swinv2_dense.layers import SwinBlock
from swinv2_dense.registry import HOOKS
from swinv2_dense.visualization.amplitude_plot import draw_amplitudes

__all__ = ["AmplitudeHook", "Amplitudes", "watch_blocks"]

_KEY = "amplitudes"  # among what the runner saves with a checkpoint


class Amplitudes:
    """The average variance of a channel behind every block: over batch and tokens, then the mean of all channels, as in
    the signal propagation plots (arXiv 2101.08692) that figure 2 follows. ``values`` by (stage, block), from 0."""

    def __init__(self) -> None:
        self.values: dict[tuple[int, int], Tensor] = {}

    def see(self, place: tuple[int, int], features: Tensor) -> None:
        if place not in self.values:  # checkpointing computes the same once more
            with torch.no_grad():
                tokens = features.detach().flatten(0, -2).float()
                self.values[place] = tokens.var(0, correction=0).mean()

    def stacked(self) -> Tensor:
        """All of them, from the first block to the last."""
        return torch.stack([self.values[place] for place in sorted(self.values)])

    def depths(self) -> list[int]:
        """Blocks of each stage."""
        stages = [stage for stage, _ in self.values]
        return [stages.count(stage) for stage in sorted(set(stages))]


@contextmanager
def watch_blocks(model: nn.Module) -> Iterator[Amplitudes]:
    """Meanwhile, see what every SwinV2 block of a model gives, in the first forward pass."""
    seen = Amplitudes()
    handles = [_watch(block, place, seen) for place, block in _blocks(model).items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _watch(block: nn.Module, place: tuple[int, int], seen: Amplitudes) -> Any:
    return block.register_forward_hook(lambda _block, _inputs, features: seen.see(place, features))


def _blocks(model: nn.Module) -> dict[tuple[int, int], SwinBlock]:
    """Blocks by stage and number; what wrappers put into names is between."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, SwinBlock):
            stage, block = re.findall(r"layers\.(\d+)\..*?blocks\.(\d+)", name)[-1]
            found[int(stage), int(block)] = module
    return found


@HOOKS.register_module()
class AmplitudeHook(Hook):
    """Draws ``amplitude.png`` in the work dir: the average variance behind each block, in the first iteration and every
    ``interval``-th from then on, one curve each.

    The numbers also go to the visualizer's backends, as ``amplitude/STAGE.BLOCK``, and come back when a run is resumed.
    In other iterations nothing is done. Several processes' values are averaged.

    Args:
        interval: iterations.
    """

    priority = "LOW"

    def __init__(self, interval: int = 1000) -> None:
        self.interval = interval
        self._watching: Any = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter % self.interval == 0:
            self._watching = watch_blocks(runner.model)
            self._seen = self._watching.__enter__()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._watching is None:
            return
        self._watching.__exit__(None, None, None)
        self._watching = None
        if not self._seen.values:
            return
        values = self._seen.stacked()
        all_reduce(values, op="sum")
        values = (values / get_world_size()).tolist()
        history = [*runner.message_hub.runtime_info.get(_KEY, []), [runner.iter + 1, values]]
        runner.message_hub.update_info(_KEY, history)
        places = sorted(self._seen.values)
        named = {f"amplitude/{stage}.{block}": v for (stage, block), v in zip(places, values, strict=True)}
        runner.visualizer.add_scalars(named, step=runner.iter + 1)
        if is_main_process():
            curves = {f"iteration {iteration}": values for iteration, values in history}
            try:
                draw_amplitudes(curves, self._seen.depths(), Path(runner.work_dir, "amplitude.png"))
            except OSError as error:
                runner.logger.error(f"{error}, and training continues")
