"""Who keeps what, which ways fit, and the program's table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mmengine.config import Config

pytest.importorskip("mmdet", reason="detectors need the det extra")

from swinv2_dense.errors import UserError
from swinv2_dense.planning import GIB, Plan, Way, flags, input_size, make_plan, summary, table
from swinv2_dense.planning.placement import STRATEGIES, Weights, place, weigh
from swinv2_dense.planning.step import PRECISIONS, build
from tests.tiny import mistake, tool

ROOT = Path(__file__).parents[2]
BUCKET_VIEWS = {name: {"strategy": {"model_wrapper": {"gradient_as_bucket_view": True}}} for name in ("ddp", "zero1")}
WEIGHTS = Weights(
    parameters=1000, trained=900, largest_block=100, outside_blocks=200, optimizer=8 * 900, update=4 * 900
)


@pytest.fixture(scope="module")
def small() -> Plan:
    """The tiny HTC of the COCO configs at 256 x 256."""
    cfg = Config.fromfile(ROOT / "configs" / "coco" / "htc_without_semantic_swinv2_t.py")
    return make_plan(cfg, (256, 256), 1, options=BUCKET_VIEWS)


@pytest.mark.parametrize("devices", [1, 8])
def test_who_keeps_what(devices: int) -> None:
    def of(name: str, precision: str = "fp32") -> tuple[float, float, float]:
        placed = place(name, precision, WEIGHTS, devices)
        return placed.weights, placed.gradients, placed.optimizer

    assert of("ddp") == (4000, 3600, 7200)
    assert of("zero1", "amp") == (4000, 3600, 7200 / devices)
    assert of("fsdp", "blocks") == (4000 / devices, 3600 / devices, 7200 / devices)
    # with a copy of the weights in float32
    assert of("deepspeed_zero1") == (4000, 3600, 10800 / devices)
    assert of("deepspeed_zero2") == (4000, 3600 / devices, 10800 / devices)
    assert of("deepspeed_zero3") == (4000 / devices, 3600 / devices, 10800 / devices)


def test_gradients_are_copied_into_buckets_or_views_of_them() -> None:
    copies = place("ddp", "fp32", WEIGHTS, 2)
    views = place("ddp", "fp32", WEIGHTS, 2, BUCKET_VIEWS["ddp"])
    assert (copies.buffers, copies.at_once) == (3600, False)
    assert (views.buffers, views.at_once) == (0, True)
    assert place("ddp", "fp32", WEIGHTS, 1).buffers == 0


def test_weighing_runs_the_configs_optimizer() -> None:
    cfg = Config.fromfile(ROOT / "configs" / "coco" / "htc_without_semantic_swinv2_t.py")
    cfg.model.backbone.frozen_stages = 1
    model = build(cfg)
    adam = weigh(model, cfg)
    assert adam.parameters > adam.trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert adam.optimizer == pytest.approx(8 * adam.trained, rel=1e-3)  # two moments in float32, and counters
    assert 0 < adam.update < 8 * adam.trained
    cfg.optim_wrapper.optimizer = dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.1)
    assert weigh(model, cfg).optimizer == pytest.approx(4 * adam.trained, rel=1e-3)


def test_every_way_is_there_and_more_devices_never_need_more(small: Plan) -> None:
    ways = small.ways()
    assert {(way.strategy, way.precision) for way in ways} == {(s, p) for s in STRATEGIES for p in STRATEGIES[s]}
    assert len(ways) == 2 * sum(map(len, STRATEGIES.values()))
    for way in ways:
        totals = [small.need(way, devices).total for devices in (2, 8, 64)]
        assert totals == sorted(totals, reverse=True)
        memory = small.need(way, 8).total
        fewest = small.fewest_devices(way, memory)
        assert fewest is not None and 1 <= fewest <= 8
        assert small.need(way, fewest).total <= memory
        assert fewest == 1 or small.need(way, fewest - 1).total > memory
        assert small.fewest_devices(way, 1.0) is None


def test_checkpointing_and_half_precision_hold_less(small: Plan) -> None:
    peaks = {key: step.peak().activations for key, step in small.steps.items()}
    for precision in PRECISIONS:
        assert peaks[precision, True] < peaks[precision, False]
    assert peaks["amp", False] < peaks["backbone", False] < peaks["fp32", False]
    assert peaks["blocks", False] < peaks["backbone", False]  # autocast keeps copies of weights


def test_the_summary_names_what_to_change(small: Plan) -> None:
    assert small.with_cp is False
    assert flags(small, Way("zero1", "amp", True), 2) == (
        "--strategy zero1 --amp --cfg-options model.backbone.with_cp=True"
    )
    assert flags(small, Way("fsdp", "blocks", False), 2) == "--strategy fsdp"
    assert flags(small, Way("fsdp", "fp32", False), 2).endswith("--cfg-options strategy.mixed_precision=None")
    assert "  ddp fits 2 GPUs: --strategy ddp" in summary(small, 2, 100 * GIB)
    assert "  ddp does not fit, however many GPUs there are" in summary(small, 2, 0.1 * GIB)


def test_one_device_may_do_where_two_do_not(small: Plan) -> None:
    way = Way("ddp", "fp32", True)
    one, two = small.need(way, 1).total, small.need(way, 2).total
    assert one < two == small.need(way, 64).total  # gradients lie in their buckets from the beginning
    least = min(small.need(way, 1).total for way in small.ways() if way.strategy == "ddp")
    together = min(small.need(way, 2).total for way in small.ways() if way.strategy == "ddp")
    assert least < together
    memory = (least + together) / 2
    assert small.fewest_devices(way, (one + two) / 2) == 1
    assert small.fewest_devices(way, (one + two) / 2, least=2) is None
    assert "  ddp fits 1 GPU alone" in summary(small, 8, memory)[1]
    _, line = summary(small, 1, memory)
    assert line.startswith("  ddp fits 1 GPU") and "alone" not in line


def test_one_device_has_nothing_to_share(small: Plan) -> None:
    rows = table(small, 1, 100 * GIB)
    assert set(rows.columns[0].cells) == {"ddp"}
    assert rows.title == "GiB on 1 GPU at the worst moment"
    assert summary(small, 1, 100 * GIB)[1:] == ["  ddp fits 1 GPU"]
    assert flags(small, Way("ddp", "amp", True), 1) == "--amp --cfg-options model.backbone.with_cp=True"
    least = min(small.need(way, 1).total for way in small.ways() if way.strategy == "ddp")
    ddp, zero1, *_ = summary(small, 1, 0.99 * least)[1:]  # then the others are told, but none as if for one
    assert ddp == "  ddp does not fit, however many GPUs there are"
    assert re.match(r"  zero1 needs \d+ GPUs: --strategy zero1 --amp", zero1)
    strategies, *_, starts = (list(column.cells) for column in table(small, 8, 100 * GIB).columns)
    froms = dict(zip(strategies, starts, strict=True))
    assert (froms["ddp"], froms["fsdp"]) == ("1 GPU", "2 GPUs")


def test_giant_at_1536_fits_40_gib() -> None:
    """Section 3.5: ZeRO-1, checkpointing and attention by groups of windows train G at 1536 x 1536 on A100-40G."""
    cfg = Config.fromfile(ROOT / "configs" / "coco" / "htc_swinv2_g.py")
    plan = make_plan(cfg, input_size(cfg), 1, precisions=("fp32",), checkpointing=(True,), options=BUCKET_VIEWS)
    assert plan.size == (1536, 1536)
    assert plan.weights.parameters == pytest.approx(3.06e9, rel=0.01)
    fewest = {name: plan.fewest_devices(Way(name, "fp32", True), 38 * GIB) for name in STRATEGIES}
    assert fewest["ddp"] is None
    assert fewest["zero1"] is not None and fewest["zero1"] <= 8
    assert fewest["fsdp"] is not None and fewest["fsdp"] <= fewest["zero1"]


def test_program(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tool("plan").main([str(config), "--gpus", "4", "--size", "64", "64"])
    out = capsys.readouterr().out
    assert "GiB on each of 4 GPUs" in out
    assert "64 x 64, batch 2 on each GPU" in out
    assert "fsdp fits 4 GPUs" in out


def test_mistakes_are_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--gpus 0: give a positive number" in mistake("plan", [str(config), "--gpus", "0"], capsys)
    line = mistake("plan", [str(config), "--cfg-options", "model.backbone.type=ResNet"], capsys)
    assert "model.backbone is none of swinv2_dense" in line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--memory", "nan"], "--memory nan: give a positive number"),
        (["--memory", "inf"], "--memory inf: give a positive number"),
        (["--reserve", "nan"], "--reserve nan: give a number from 0 on, below the 40 of --memory"),
        (["--reserve=-1"], "--reserve -1: give a number from 0 on"),
        (["--memory", "8", "--reserve", "8"], "--reserve 8: give a number from 0 on, below the 8 of --memory"),
        (["--size", "0", "64"], "--size 0 64: give numbers of pixels from 1 on"),
        (["--size", "64"], "--size 64: this model takes HEIGHT WIDTH"),
        (["--size", "8", "64", "64"], "--size 8 64 64: this model takes HEIGHT WIDTH"),
        (["--cfg-options", "train_dataloader=None"], "None as its train_dataloader, which planning needs"),
        (["--cfg-options", "train_dataloader.batch_size=abc"], "train_dataloader.batch_size='abc'"),
    ],
)
def test_numbers_that_make_no_plan(
    arguments: list[str], line: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in mistake("plan", [str(config), *arguments], capsys)


def test_the_size_is_that_of_the_data_that_are_trained_on() -> None:
    """Not of train_pipeline, which the config file used before the option changed the data set's."""

    def pipeline(side: int) -> list[dict[str, object]]:
        return [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(side, side))]

    def cfg(dataset: dict[str, object]) -> Config:
        loader = dict(dataset=dataset)
        return Config(dict(model=dict(), train_pipeline=pipeline(32), train_dataloader=loader))

    one, two = (dict(type="CocoDataset", pipeline=pipeline(side)) for side in (64, 96))
    assert input_size(cfg(one)) == (64, 64)
    assert input_size(cfg(dict(type="RepeatDataset", dataset=one))) == (64, 64)
    assert input_size(cfg(dict(type="ConcatDataset", datasets=[one, two]))) == (96, 96)
    assert input_size(cfg(dict(type="MultiImageMixDataset", dataset=one, pipeline=pipeline(128)))) == (128, 128)


def test_a_config_that_hides_its_size_is_told() -> None:
    with pytest.raises(UserError, match="--size HEIGHT WIDTH"):
        input_size(Config(dict(model=dict(), train_pipeline=[dict(type="LoadImageFromFile")])))
