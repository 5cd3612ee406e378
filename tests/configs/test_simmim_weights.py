"""SimMIM's checkpoints, ours and those that the authors released, go into models of every task, and training goes on
from them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("mmpretrain", reason="needs the cls extra")

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn

from swinv2_dense.checkpoint import LoadReport, load_pretrained
from swinv2_dense.engine.runner import launch
from tests.checkpoint.makers import CLASSES, PRETRAINED, Published, microsoft, released_simmim, save
from tests.datasets.test_imagenet import write_images
from tests.models.oracles import ARCH, randomize
from tests.tiny import clean_run  # noqa: F401

CONFIGS = Path(__file__).parents[2] / "configs"
TASKS = {
    "detection": ("mmdet", "htc_swinv2_demo"),
    "segmentation": ("mmseg", "upernet_swinv2_demo"),
    "classification": ("mmpretrain", "classifier_swinv2_demo"),
    "video": ("mmaction", "video_swinv2_demo"),
}


def built(path: Path, **backbone: Any) -> nn.Module:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone.update(arch=ARCH, **backbone)
    if cfg.model.type == "SimMIM":
        cfg.model.neck.in_channels = 256
    return MODELS.build(cfg.model)


def our_file(folder: Path) -> tuple[Path, dict[str, Tensor], list[str]]:
    """A checkpoint of configs/simmim; the encoder's weights by our names, and the names of the decoder."""
    torch.manual_seed(1)
    state = randomize(built(CONFIGS / "simmim" / "simmim_swinv2_b.py", window_size=4)).state_dict()
    torch.save({"state_dict": state, "meta": {}}, folder / "epoch_800.pth")
    encoder = {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    return folder / "epoch_800.pth", encoder, ["neck.decoder.0.weight", "neck.decoder.0.bias"]


def their_file(folder: Path) -> tuple[Path, dict[str, Tensor], list[str]]:
    published = released_simmim()
    named = {k.removeprefix("encoder.").replace("rpe_mlp", "cpb_mlp"): v for k, v in published.state_dict.items()}
    encoder = {k.replace("norm.", "norm3.") if k.startswith("norm.") else k: v for k, v in named.items()}
    return save(published, "simmim", folder), encoder, ["decoder.0.weight", "decoder.0.bias"]


@pytest.mark.parametrize("file", [our_file, their_file])
@pytest.mark.parametrize("task", TASKS)
def test_mask_token_and_decoder_are_reported_in_every_task(task: str, file: Any, tmp_path: Path) -> None:
    library, name = TASKS[task]
    pytest.importorskip(library, reason=f"needs {library}")
    path, encoder, decoder = file(tmp_path)
    model = built(CONFIGS / "demo" / f"{name}.py")
    report = load_pretrained(model, path)
    assert [key.rpartition(".")[2] for key in report.dropped["mask token"]] == ["mask_token"]
    assert report.dropped["decoder"] == decoder
    assert not report.unexpected
    assert set(report.dropped) <= {"mask token", "decoder"}
    for kind in ("mask token", "decoder"):
        assert re.search(rf"dropped +{kind}: ", str(report))
    found = dict(model.backbone.named_parameters())
    compared = [key for key in found if key in encoder and found[key].shape == encoder[key].shape]
    assert len(compared) > 100
    assert all(torch.equal(found[key], encoder[key]) for key in compared)
    windows = [tuple(window)[-2:] for window in model.backbone.pretrained_window_size]
    assert windows == ([(4, 4)] * 4 if file is our_file else [(w, w) for w in PRETRAINED])


class _Beginning(Hook):
    """Keeps the weights that the first iteration has."""

    state: dict[str, Tensor]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 0:
            self.state = {name: value.clone() for name, value in runner.model.state_dict().items()}


def _small(cfg: Config, tmp_path: Path, load_from: Path) -> None:
    cfg.model.backbone.update(arch=ARCH, window_size=4)
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_cfg.max_epochs = 1
    cfg.param_scheduler = []
    cfg.update(work_dir=str(tmp_path / "work"), load_from=str(load_from))


def _pretrain(tmp_path: Path, load_from: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[_Beginning, Any]:
    monkeypatch.setenv("IMAGES_ROOT", str(write_images(tmp_path / "images", ["a"], 4)))
    cfg = Config.fromfile(CONFIGS / "simmim" / "simmim_swinv2_b.py")
    _small(cfg, tmp_path, load_from)
    cfg.model.neck.in_channels = 256
    cfg.train_dataloader.dataset.pipeline[1].scale = 64
    beginning = _Beginning()
    return beginning, launch.train(cfg, hooks=[beginning])


def _fine_tune(tmp_path: Path, load_from: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[_Beginning, Any]:
    root = tmp_path / "data"
    for split in ("train", "val"):
        write_images(root / split, [f"class{i}" for i in range(CLASSES)], 1)
    monkeypatch.setenv("IMAGENET_ROOT", str(root))
    cfg = Config.fromfile(CONFIGS / "imagenet" / "swinv2_b_w14_224_simmim.py")
    _small(cfg, tmp_path, load_from)
    cfg.model.head.update(num_classes=CLASSES, in_channels=256)
    cfg.model.data_preprocessor.num_classes = CLASSES
    cfg.train_dataloader.dataset.num_classes = CLASSES
    for step in cfg.train_dataloader.dataset.pipeline:
        if step["type"] == "RandomResizedCrop":
            step.scale = 64
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.default_hooks.checkpoint.save_best = None
    beginning = _Beginning()
    return beginning, launch.train(cfg, hooks=[beginning])


def _continues(beginning: _Beginning, runner: Any) -> None:
    """Every parameter has taken a step, and is finite. A temperature at its bound, log 100, has no gradient."""
    now = dict(runner.model.named_parameters())
    assert all(torch.isfinite(value).all() for value in now.values())
    still = {name for name, value in now.items() if torch.equal(value, beginning.state[name])}
    assert still <= {n for n, v in now.items() if n.endswith("logit_scale") and (v >= math.log(100)).all()}


@pytest.mark.parametrize("file", [our_file, their_file])
def test_pretraining_continues_with_token_and_decoder(
    file: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_run: None,  # noqa: F811
) -> None:
    path, encoder, decoder = file(tmp_path)
    beginning, runner = _pretrain(tmp_path, path, monkeypatch)
    content = torch.load(path, weights_only=True)
    content = content.get("state_dict", content.get("model"))
    for name, value in beginning.state.items():
        if name.startswith("backbone.") and "pretrained_window_size" not in name:
            assert torch.equal(value, encoder[name.removeprefix("backbone.")]), name
    for name in decoder:
        assert torch.equal(beginning.state[f"neck.{name.removeprefix('neck.')}"], content[name])
    _continues(beginning, runner)


@pytest.mark.parametrize("file", [our_file, their_file])
def test_fine_tuning_starts_from_it(
    file: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_run: None,  # noqa: F811
) -> None:
    path, encoder, _ = file(tmp_path)
    beginning, runner = _fine_tune(tmp_path, path, monkeypatch)
    for name, _ in runner.model.backbone.named_parameters():
        assert torch.equal(beginning.state[f"backbone.{name}"], encoder[name])
    _continues(beginning, runner)


def their_classifier(folder: Path) -> tuple[Path, Published]:
    """A fine-tuned file of the SimMIM releases: no encoder before the names, a head, and the meta network's old
    name."""
    published = microsoft()
    published.state_dict = {k.replace("cpb_mlp", "rpe_mlp"): v for k, v in published.state_dict.items()}
    return save(published, "microsoft", folder), published


def test_their_fine_tuned_files_continue_with_their_head(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean_run: None,  # noqa: F811
) -> None:
    path, published = their_classifier(tmp_path)
    beginning, runner = _fine_tune(tmp_path, path, monkeypatch)
    for ours, theirs in (
        ("head.fc.weight", "head.weight"),
        ("backbone.norm3.bias", "norm.bias"),
        ("backbone.layers.2.blocks.1.attn.cpb_mlp.2.weight", "layers.2.blocks.1.attn.rpe_mlp.2.weight"),
    ):
        assert torch.equal(beginning.state[ours], published.state_dict[theirs])
    _continues(beginning, runner)


def test_an_image_head_is_reported_where_a_model_has_another(tmp_path: Path) -> None:
    path, _ = their_classifier(tmp_path)
    report: LoadReport = load_pretrained(built(CONFIGS / "simmim" / "simmim_swinv2_b.py", window_size=4), path)
    assert report.missing == ["mask_token"]
    assert report.dropped["head"] == ["head.weight", "head.bias"]
