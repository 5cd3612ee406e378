"""Variance behind each block: the numbers, under checkpointing and in clips, and what a run leaves."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from swinv2_dense.engine.hooks.amplitude_hook import AmplitudeHook, watch_blocks
from swinv2_dense.layers import SwinBlock
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from swinv2_dense.visualization.amplitude_plot import draw_amplitudes
from tests.tiny import tool

ARCH = dict(embed_dims=8, depths=(2, 1), num_heads=(1, 1), extra_norm_every_n_blocks=2)


def backbone(video: bool = False, **options: object) -> SwinTransformerV2:
    cls = VideoSwinTransformerV2 if video else SwinTransformerV2
    model = cls(ARCH, window_size=4, out_indices=(0, 1), drop_path_rate=0.0, **options)  # type: ignore[arg-type]
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


@pytest.mark.parametrize("video", [False, True])
def test_values_are_variances_of_what_blocks_give(video: bool) -> None:
    model = backbone(video)
    outputs: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, SwinBlock):
            module.register_forward_hook(lambda _m, _i, out: outputs.append(out))
    with watch_blocks(model) as seen:
        model(torch.randn(2, 3, *([4] if video else []), 32, 32))
    assert list(seen.values) == [(0, 0), (0, 1), (1, 0)]
    assert seen.depths() == [2, 1]
    expected = [np.var(out.detach().numpy().reshape(-1, out.shape[-1]), axis=0).mean() for out in outputs]
    np.testing.assert_allclose(seen.stacked().numpy(), expected, rtol=1e-4)
    assert len(list(model(torch.randn(1, 3, *([4] if video else []), 32, 32)))) == 2
    assert len(seen.values) == 3


def test_checkpointing_is_seen_once_and_changes_nothing() -> None:
    x = torch.randn(1, 3, 32, 32)
    values, grads = [], []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = backbone(with_cp=with_cp).train()
        with watch_blocks(model) as seen:
            sum(f.square().mean() for f in model(x)).backward()  # type: ignore[union-attr]
        values.append(seen.stacked())
        grads.append(model.patch_embed.proj.weight.grad)
    assert not values[0].requires_grad
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(grads[0], grads[1])


def test_a_run_leaves_picture_and_numbers(config: Path, tmp_path: Path) -> None:
    pytest.importorskip("mmdet", reason="needs the det extra")
    options = ["default_hooks.amplitude.type=swinv2_dense.AmplitudeHook", "default_hooks.amplitude.interval=2"]
    work_dir = tmp_path / "run"
    tool("train").main([str(config), "--work-dir", str(work_dir), "--cfg-options", *options, "train_cfg.max_epochs=2"])
    picture = cv2.imread(str(work_dir / "amplitude.png"))
    assert picture.std() > 0
    (scalars,) = work_dir.rglob("scalars.json")
    lines = [line for line in map(json.loads, scalars.read_text().splitlines()) if "amplitude/0.0" in line]
    assert [line["step"] for line in lines] == [1, 3]
    assert all(line[f"amplitude/{stage}.0"] > 0 for line in lines for stage in range(4))
    state = torch.load(work_dir / "epoch_2.pth", weights_only=False)
    assert [iteration for iteration, _ in state["message_hub"]["runtime_info"]["amplitudes"]] == [1, 3]


def test_other_iterations_cost_nothing() -> None:
    """Hooks stand on the blocks in the recorded iterations alone."""

    class Runner:
        iter = 1
        model = backbone()

    hook = AmplitudeHook(interval=1000)
    hook.before_train_iter(Runner, 0)  # type: ignore[arg-type]
    assert not any(m._forward_hooks for m in Runner.model.modules())
    start = time.perf_counter()
    for _ in range(1000):
        hook.before_train_iter(Runner, 0)  # type: ignore[arg-type]
        hook.after_train_iter(Runner, 0)  # type: ignore[arg-type]
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    "curves",
    [
        {"overflow": [1.0, math.inf, math.nan], "before": [1.0, 2.0, 3.0]},
        {"nothing finite": [math.nan, math.inf, math.nan]},
        {"dead": [0.0, 0.0, 0.0]},
        {"huge": [1e-38, 1.0, 3e38]},
    ],
)
def test_features_that_are_not_finite_are_left_out(tmp_path: Path, curves: dict[str, list[float]]) -> None:
    draw_amplitudes(curves, [2, 1], tmp_path / "a.png")
    assert cv2.imread(str(tmp_path / "a.png")).std() > 0


def test_training_goes_on_where_features_are_not_finite(tmp_path: Path) -> None:
    """And where the history that a resumed run takes from its checkpoint has such values."""
    model = backbone()
    shown: dict[str, float] = {}
    hub = MessageHub("nonfinite")
    hub.update_info("amplitudes", [[1, [math.nan, math.inf, 1.0]]])
    visualizer = SimpleNamespace(add_scalars=lambda named, step: shown.update(named))
    runner: Any = SimpleNamespace(iter=4, model=model, message_hub=hub, visualizer=visualizer, work_dir=str(tmp_path))
    hook = AmplitudeHook(interval=2)
    hook.before_train_iter(runner, 0)
    model(torch.full((1, 3, 32, 32), math.nan))
    hook.after_train_iter(runner, 0)
    assert len(shown) == 3 and not any(map(math.isfinite, shown.values()))
    assert [iteration for iteration, _ in hub.runtime_info["amplitudes"]] == [1, 5]
    assert (tmp_path / "amplitude.png").exists()


def test_picture_is_whole_or_not_there(tmp_path: Path) -> None:
    draw_amplitudes({f"iteration {i}": [1 + i, 2.0, 3.0] for i in range(30)}, [2, 1], tmp_path / "a.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(ValueError, match="shape"):
        draw_amplitudes({"too short": [1.0]}, [2, 1], tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_program_compares_weights(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mmdet", reason="needs the det extra")
    picture, weights = tmp_path / "noise.png", tmp_path / "weights.pth"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    arch = dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
    model = SwinTransformerV2(arch, window_size=4)
    with torch.no_grad():
        model.patch_embed.norm.weight.mul_(10)
    torch.save(model.state_dict(), weights)
    argv = [str(config), "--images", str(picture), "--size", "64", "--weights", str(weights)]
    tool("amplitude").main([*argv, "--work-dir", str(tmp_path / "out")])
    random, loaded = capsys.readouterr().out.splitlines()[-3:-1]
    assert random.startswith("random weights: ") and loaded.startswith("weights.pth: ")
    first = [float(line.split(": ")[1].split(",")[0]) for line in (random, loaded)]
    assert first[1] == pytest.approx(100 * first[0], rel=0.1)
    assert (tmp_path / "out" / "amplitude.png").exists()
