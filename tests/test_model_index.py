"""Every config is listed with what its metafile says; names are found by a part or by wildcards."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinv2_dense import model_index
from swinv2_dense.config_files import config_names, find_config
from swinv2_dense.errors import UserError
from swinv2_dense.model_index import models, read_metafile


def test_all_configs_are_listed_each_with_a_task() -> None:
    listed = models()
    assert [model.name for model in listed] == list(config_names())
    assert [model.name for model in listed if not model.task] == []


def test_what_the_metafile_says() -> None:
    (giant,) = models("coco/htc_swinv2_g_test_w48")
    assert giant.scores == {"box AP": 61.9, "mask AP": 53.4}
    assert giant.parameters is not None
    assert 3.0e9 < giant.parameters < 3.1e9
    (demo,) = models("htc_swinv2_demo")
    assert (demo.parameters, demo.flops, demo.scores) == (None, None, {})


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("UPERNET_swinv2_b", ["ade20k/upernet_swinv2_b_w16", "ade20k/upernet_swinv2_b_w40"]),
        ("htc_swinv2_[ts]", ["coco/htc_swinv2_s", "coco/htc_swinv2_t"]),
        ("ade20k/mask2*", ["ade20k/mask2former_swinv2_b", "ade20k/mask2former_swinv2_l"]),
        ("resnet", []),
    ],
)
def test_patterns(pattern: str, expected: list[str]) -> None:
    assert [model.name for model in models(pattern)] == expected


def test_metafile_mistakes(tmp_path: Path) -> None:
    for text in ("Models: [", "Models: 3"):
        path = tmp_path / "metafile.yml"
        path.write_text(text)
        with pytest.raises(UserError, match=r"metafile\.yml"):
            read_metafile(path)


def test_another_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "configs"
    monkeypatch.setattr(model_index, "CONFIGS", folder)
    monkeypatch.setattr(model_index, "config_names", lambda: {"new/a": folder / "new" / "a.py"})
    (folder / "new").mkdir(parents=True)
    (folder / "new" / "metafile.yml").write_text(
        "Models:\n- {Name: a, Config: configs/new/a.py, Metadata: {Parameters: 7}, Results: null}\n"
    )
    (model,) = models()
    assert (model.parameters, model.flops, model.scores, model.task) == (7, None, {}, "")


# multiply-adds as the authors' own table has them, in 10^9
FLOPS = {
    "swinv2_t_w8_256": 5.9,
    "swinv2_t_w16_256": 6.6,
    "swinv2_s_w8_256": 11.5,
    "swinv2_s_w16_256": 12.6,
    "swinv2_b_w8_256": 20.3,
    "swinv2_b_w16_256": 21.8,
    "swinv2_b_w24_384_22kto1k": 54.7,
    "swinv2_l_w16_256_22kto1k": 47.5,
    "swinv2_l_w24_384_22kto1k": 115.4,
}


def test_classifiers_have_mmpretrains_names_and_the_authors_addresses() -> None:
    (tiny,) = models("swinv2-tiny-w8_3rdparty_in1k-256px")
    assert tiny.name == "imagenet/swinv2_t_w8_256"
    assert tiny.weights is not None and tiny.weights.endswith("/v2.0.0/swinv2_tiny_patch4_window8_256.pth")
    assert tiny.scores == {"top-1": 81.76, "top-5": 95.87}
    assert find_config("swinv2-tiny-w8_3rdparty_in1k-256px") == tiny.config
    zoo = Path(pytest.importorskip("mmpretrain").__file__).parent / ".mim" / "configs" / "swin_transformer_v2"
    theirs = {m["Name"]: m for m in read_metafile(zoo / "metafile.yml")["Models"] if "3rdparty" in m["Name"]}
    ours = {alias: model for model in models("imagenet/") for alias in model.aliases}
    assert set(ours) == set(theirs) and len(ours) == 12
    for name, entry in theirs.items():
        assert ours[name].weights == entry["Converted From"]["Weights"]
        if entry.get("Results"):
            metrics = entry["Results"][0]["Metrics"]
            assert ours[name].scores == {"top-1": metrics["Top 1 Accuracy"], "top-5": metrics["Top 5 Accuracy"]}
            assert ours[name].parameters == pytest.approx(entry["Metadata"]["Parameters"], rel=2e-3)
    for name, giga in FLOPS.items():  # MMPretrain counts no products of attention
        (model,) = (m for m in models(name) if m.name == f"imagenet/{name}")
        assert model.flops == pytest.approx(giga * 1e9, rel=0.01), name


def test_every_folder_of_models_is_in_the_index() -> None:
    import yaml

    root = Path(__file__).parents[1]
    listed = yaml.safe_load((root / "model-index.yml").read_text())["Import"]
    assert listed == sorted(str(path.relative_to(root)) for path in (root / "configs").glob("*/metafile.yml"))
