"""Both windows are solved from what checkpoints store, or read from configurations and names."""

from __future__ import annotations

import pytest
import torch

from swinv2_dense.checkpoint.renaming import Weights, to_authors
from swinv2_dense.checkpoint.window_transfer import clamped, find_geometry, solve_table, windows_per_stage
from swinv2_dense.errors import UserError
from tests.checkpoint.makers import PRETRAINED, USED, coords_table, microsoft, mmpretrain, simmim, timm


def square(*sides: int) -> tuple[tuple[int, int], ...]:
    return tuple((side, side) for side in sides)


@pytest.mark.parametrize("window", [2, 3, 8, 12, 16])
@pytest.mark.parametrize("pretrained", [2, 5, 6, 12, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_both_windows_are_solved_from_a_table(window: int, pretrained: int, dtype: torch.dtype) -> None:
    table = coords_table((window, 2), (pretrained, 3)).to(dtype)
    assert solve_table(table) == ((window, 2), (pretrained, 3))


@pytest.mark.parametrize(("window", "pretrained"), [((3, 4, 5), (8, 2, 7)), ((1, 3, 3), (1, 6, 6))])
def test_tables_have_any_number_of_axes(window: tuple[int, ...], pretrained: tuple[int, ...]) -> None:
    assert solve_table(coords_table(window, pretrained)) == (window, pretrained)


def test_a_window_of_one_token_has_not_a_number_in_the_authors_files() -> None:
    table = coords_table((1, 1), (1, 1))
    assert table.isnan().all()
    assert solve_table(table) == ((1, 1), (1, 1))


@pytest.mark.parametrize("damage", [lambda t: t * 1.2, lambda t: t[:, :-1], lambda t: t + 0.1])
def test_a_table_of_no_window_is_refused(damage: object) -> None:
    with pytest.raises(UserError, match="fits no pre-training window"):
        solve_table(damage(coords_table((8, 8), (6, 6))))  # type: ignore[operator]


def test_the_published_transfers_are_read_from_names() -> None:
    weights = to_authors(timm().state_dict)  # 4 stages, patches of 4 pixels
    twelve = square(12, 12, 12, 6)
    cases = {
        "swinv2_tiny_patch4_window8_256.pth": (square(8, 8, 8, 8), square(8, 8, 8, 8)),
        "swinv2_tiny_patch4_window16_256.pth": (square(16, 16, 16, 8), square(16, 16, 16, 8)),
        "swinv2_base_patch4_window12_192_22k.pth": (twelve, twelve),
        "swinv2_base_patch4_window12to24_192to384_22kto1k_ft.pth": (twelve, square(24, 24, 24, 12)),
        "swinv2_base_window12to16_192to256.ms_in22k_ft_in1k": (twelve, square(16, 16, 16, 8)),
        "microsoft/swinv2-large-patch4-window12to24-192to384-22kto1k-ft": (twelve, square(24, 24, 24, 12)),
        "swinv2_base_window12to24_192to384_22kft1k": (twelve, square(24, 24, 24, 12)),
        "swinv2-tiny-w8_3rdparty_in1k-256px_20220803-e318968f.pth": (square(8, 8, 8, 8), square(8, 8, 8, 8)),
        "swinv2-base-w24_in21k-pre_3rdparty_in1k-384px_20220803-44eb70f8.pth": (twelve, square(24, 24, 24, 12)),
        "swinv2-base-w16_in21k-pre_3rdparty_in1k-256px_20220803-8d7aa8ad.pth": (twelve, square(16, 16, 16, 8)),
        "swinv2-large-w12_3rdparty_in21k-192px_20220803-d9073fee.pth": (twelve, twelve),
    }
    for name, (pretrained, windows) in cases.items():
        geometry = find_geometry(weights, name)
        assert geometry is not None, name
        assert (geometry.pretrained, geometry.windows) == (pretrained, windows), name
        assert "name" in geometry.source


@pytest.mark.parametrize("name", ["", "epoch_12.pth", "swin_tiny_patch4_window7_224.pth", "my_window8_model.pth"])
def test_other_names_tell_nothing(name: str) -> None:
    assert find_geometry(to_authors(timm().state_dict), name) is None


@pytest.mark.parametrize("maker", [microsoft, simmim, mmpretrain])
def test_stored_tables_tell_every_stage(maker: object) -> None:
    geometry = find_geometry(to_authors(maker().state_dict))  # type: ignore[operator]
    assert geometry is not None
    assert geometry.pretrained == square(*PRETRAINED)
    assert geometry.windows == square(*USED)


def test_config_json_clamps_and_reads_zero_as_the_window_itself() -> None:
    weights = to_authors(timm().state_dict)
    config = {"window_size": 16, "image_size": 256, "pretrained_window_sizes": [0, 0, 0, 0]}
    found = find_geometry(weights, config=config)
    assert found is not None
    assert found.pretrained == square(16, 16, 16, 8)
    found = find_geometry(weights, config={**config, "pretrained_window_sizes": [12, 12, 12, 6]})
    assert found is not None
    assert found.pretrained == square(12, 12, 12, 6)
    assert found.windows == square(16, 16, 16, 8)
    with pytest.raises(UserError, match="pretrained_window_sizes names 3 stages"):
        find_geometry(weights, config={**config, "pretrained_window_sizes": [12, 12, 12]})


def test_the_first_source_that_tells_is_believed() -> None:
    told: list[str] = []
    weights = to_authors(microsoft().state_dict)
    weights.saved_windows = {s: torch.tensor([9, 9]) for s in range(4)}
    rest = {
        "name": "swinv2_tiny_patch4_window8_256",
        "config": {"window_size": 4, "image_size": 64},
        "argument": square(7, 7, 7, 7),
    }

    def note(weights: Weights) -> None:
        geometry = find_geometry(weights, **rest)  # type: ignore[arg-type]
        told.append(f"{geometry.source} {geometry.pretrained[0][0]}" if geometry else "nobody")

    note(weights)
    weights.saved_windows = {}
    note(weights)
    weights.tables = {}
    note(weights)
    for key in ("config", "name", "argument"):
        del rest[key]
        note(weights)
    assert told == [
        "the weights, which saved it 9",
        "its coordinate tables 3",
        "config.json 4",
        "its name (swinv2_tiny_patch4_window8_256) 8",
        "the argument pretrained_window_size 7",
        "nobody",
    ]


def test_blocks_of_a_stage_that_disagree_are_refused() -> None:
    weights = to_authors(microsoft().state_dict)
    weights.tables["layers.1.blocks.1.attn.relative_coords_table"] = coords_table((4, 4), (8, 8))
    with pytest.raises(UserError, match="blocks of stage 1 were trained with different windows"):
        find_geometry(weights)


def test_windows_are_given_as_a_number_a_window_or_one_a_stage() -> None:
    assert windows_per_stage(8, 4, 2, "k") == square(8, 8, 8, 8)
    assert windows_per_stage((8, 6), 4, 2, "k") == ((8, 6),) * 4
    assert windows_per_stage([12, 12, (12, 6), 6], 4, 2, "k") == ((12, 12), (12, 12), (12, 6), (6, 6))
    for wrong in (0, 8.0, "8", [8, 8, 8], [8, 8, 8, 0], True, None, [(8, 8, 8)] * 4, 2**31, [8, 10**30]):
        with pytest.raises(UserError, match="k="):
            windows_per_stage(wrong, 4, 2, "k")


def test_no_window_is_larger_than_its_map() -> None:
    assert clamped((16, 16), (256, 192), (4, 4), 4) == ((16, 16), (16, 16), (16, 12), (8, 6))


CONFIG = {"model_type": "swinv2", "image_size": 192, "window_size": 12, "pretrained_window_sizes": [0, 0, 0, 0]}


@pytest.mark.parametrize(
    ("config", "windows"),
    [
        (CONFIG, (12, 12, 12, 6)),
        ({"model_type": "upernet", "backbone_config": CONFIG}, (12, 12, 12, 6)),
        ({"model_type": "dpt", "image_size": 384, "backbone_config": CONFIG}, (12, 12, 12, 6)),
        ({**CONFIG, "image_size": [192, 192], "pretrained_window_sizes": [8, 8, 8, 4]}, (8, 8, 8, 4)),
        ({**CONFIG, "pretrained_window_sizes": None}, (12, 12, 12, 6)),
        ({**CONFIG, "pretrained_window_sizes": [0, 0, 0]}, (12, 12, 12, 6)),
    ],
)
def test_a_configuration_is_read_wherever_it_is_nested(config: dict, windows: tuple[int, ...]) -> None:
    geometry = find_geometry(to_authors(timm().state_dict), config=config)
    assert geometry is not None
    assert geometry.pretrained == tuple((w, w) for w in windows)


def test_three_stages_with_the_default_of_four_zeros() -> None:
    state_dict = {k: v for k, v in timm().state_dict.items() if not k.startswith(("layers.3", "norm"))}
    geometry = find_geometry(to_authors(state_dict), config=CONFIG)
    assert geometry is not None
    assert geometry.pretrained == ((12, 12),) * 3


@pytest.mark.parametrize(
    "change",
    [
        {"window_size": 10**9},
        {"window_size": -4},
        {"window_size": "8"},
        {"window_size": [8, 8, 8]},
        {"window_size": None},
        {"window_size": 8.5},
        {"image_size": 10**12},
        {"image_size": {}},
        {"pretrained_window_sizes": 8},
        {"pretrained_window_sizes": [8, 8, 8, 2**62]},
        {"pretrained_window_sizes": [8, 8, 8, -1]},
        {"pretrained_window_sizes": [8, 8]},
    ],
)
def test_a_configuration_that_claims_no_window_is_refused(change: dict) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        find_geometry(to_authors(timm().state_dict), config={**CONFIG, **change})


@pytest.mark.parametrize("name", ["swinv2_x_window99999999999_256", "swinv2_x_window8_0", "swinv2_x_window0_256"])
def test_a_name_that_claims_no_window_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="in the name swinv2_x"):
        find_geometry(to_authors(timm().state_dict), name)
