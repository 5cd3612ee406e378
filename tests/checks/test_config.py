"""Mistakes told before anything is built: each is one line that names the key or the file, with status 1."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from swinv2_dense.checks import config as preflight
from swinv2_dense.cli import common as cli
from swinv2_dense.errors import UserError
from tests.tiny import mistake, tool


def edit_annotations(root: Path, edit: Callable[[dict], None]) -> None:
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def remove_root(root: Path) -> None:
    shutil.rmtree(root)


def empty_root(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def remove_annotations(root: Path) -> None:
    (root / "annotations" / "instances_train2017.json").unlink()


def cut_annotations(root: Path) -> None:
    path = root / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text()[:-50])


def remove_images(root: Path) -> None:
    for path in (root / "train2017").iterdir():
        path.unlink()
    (root / "train2017" / "readme.txt").write_text("moved")


def remove_one_image(root: Path) -> None:
    sorted((root / "train2017").iterdir())[1].unlink()


def empty_image(root: Path) -> None:
    sorted((root / "train2017").iterdir())[1].write_bytes(b"")


def one_category_more(root: Path) -> None:
    edit_annotations(root, lambda content: content["categories"].append({"id": 99, "name": "zebra"}))


def one_category_less(root: Path) -> None:
    edit_annotations(root, lambda content: content["categories"].pop())


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (remove_root, ["/coco/ does not exist", "set SHAPES_ROOT"]),
        (empty_root, ["/coco/ is empty", "set SHAPES_ROOT"]),
        (remove_annotations, ["instances_train2017.json does not exist", "train_dataloader.dataset.ann_file"]),
        (cut_annotations, ["instances_train2017.json", "cut off"]),
        (remove_images, ["lacks 4 of the 4 images", "000000000001.jpg", "data_prefix.img"]),
        (remove_one_image, ["lacks 1 of the 4 images", "000000000002.jpg"]),
        (empty_image, ["000000000002.jpg is an empty file"]),
        (one_category_less, ["3 categories", "4 classes", "only in the config: star", "metainfo.classes"]),
    ],
)
def test_data(
    spoil: Callable[[Path], None],
    told: list[str],
    config: Path,
    coco: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(coco)
    line = mistake("train", [str(config), "--work-dir", str(tmp_path / "work")], capsys)
    for part in told:
        assert part in line


HEAD = "model.roi_head.bbox_head.1.num_classes"
RESUME = "holds no checkpoint to resume from"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--cfg-options", f"{HEAD}=3"], [f"{HEAD}=3", "has 4 classes"]),
        (["--cfg-options", "load_from=gone.pth"], ["gone.pth does not exist", "load_from"]),
        (["--resume", "gone.pth"], ["gone.pth does not exist", "--resume"]),
        (["--resume"], [RESUME]),
        (["--cfg-options", "resume=True"], [RESUME]),
        (["--cfg-options", "model.backbone.windw_size=8"], ["model.backbone", "'windw_size'", "'window_size'"]),
        (
            ["--cfg-options", "model.backbone.type=swinv2_dense.SwinTransformer"],
            ["swinv2_dense.SwinTransformer'", "'SwinTransformerV2'"],
        ),
        (
            ["--cfg-options", "model.backbone.init_cfg.type=Pretrained", "model.backbone.init_cfg.checkpoint=gone.pth"],
            ["gone.pth does not exist", "model.backbone.init_cfg.checkpoint"],
        ),
        (
            ["--cfg-options", "model.backbone.init_cfg={'type':'Pretrained','checkpoint':'gone.pth'}"],
            ["model.backbone.init_cfg=", "is no dict", "model.backbone.init_cfg.type=Pretrained"],
        ),
        (["--cfg-options", "train_dataloder.batch_size=8"], ["'train_dataloder'", "'train_dataloader'"]),
        (["--cfg-options", "model.roi_head.mask_head.7.num_convs=1"], ["model.roi_head.mask_head.7.num_convs"]),
        (["--cfg-options", "train_dataloader.dataset.type=CocoDataSet"], ["CocoDataSet", "train_dataloader.dataset"]),
        (["--cfg-options", "optim_wrapper.paramwise_cfg.decay_rat=1"], ["'decay_rat'", "'decay_rate'"]),
        (["--cfg-options", "model.neck.out_chanels=1"], ["FPN has no option 'out_chanels'"]),
        (["--cfg-options", "model.neck.type=FPNN"], ["'FPNN' is unknown"]),
        (["--fast-dev-run", "0"], ["--fast-dev-run 0"]),
        (["--auto-scale-lr"], ["auto_scale_lr.base_batch_size"]),
        (["--launcher", "pytorch"], ["tools/dist_train.sh"]),
        (
            ["--cfg-options", "optim_wrapper.optimizer.type=AdamX"],
            ["optim_wrapper.optimizer.type='AdamX' does not exist: did you mean 'Adam"],
        ),
    ],
)
def test_options(
    options: list[str], told: list[str], config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = mistake("train", [str(config), "--work-dir", str(tmp_path / "work"), *options], capsys)
    for part in told:
        assert part in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = ["--work-dir", str(tmp_path / "work")]
    assert "no GPU" in mistake("train", [str(config), *work, "--cfg-options", "device=cuda"], capsys)
    monkeypatch.setenv("RANK", "0")
    assert "backend=gloo" in mistake("train", [str(config), *work, "--launcher", "pytorch"], capsys)


def test_testing(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "weights.pth"
    assert "weights.pth does not exist" in mistake("test", [str(config), str(weights)], capsys)
    weights.write_bytes(b"PK cut off")
    work = ["--work-dir", str(tmp_path / "work")]
    assert "weights.pth is truncated" in mistake("test", [str(config), str(weights), *work], capsys)
    half = tmp_path / "half.py"
    half.write_text(f"_base_ = {str(config)!r}\ntta_model = dict(type='DetTTAModel')\n")
    assert "tta_model and no tta_pipeline" in mistake("test", [str(half), str(weights), *work, "--tta"], capsys)
    assert "--out all.json" in mistake("test", [str(config), str(weights), "--out", "all.json"], capsys)


def test_config_files(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "gone.py does not exist" in mistake("train", ["gone.py"], capsys)
    base, leaf = tmp_path / "base.py", tmp_path / "leaf.py"
    leaf.write_text('_base_ = "./base.py"')
    assert "base.py" in mistake("train", [str(leaf)], capsys)
    base.write_text("model = dict(a=1))")
    assert f"config {base} cannot be read: SyntaxError" in mistake("train", [str(leaf)], capsys)
    base.write_text("model = undefined")
    assert f"config {base} cannot be read: NameError" in mistake("train", [str(leaf)], capsys)


def test_work_dir_that_is_a_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--work-dir" in mistake("train", [str(config), "--work-dir", str(config)], capsys)


def test_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(preflight.extras.EXTRAS, "no_such_library", "det")
    with pytest.raises(UserError, match=r"needs no_such_library.*pip install 'swinv2_dense\[det\]'"):
        preflight.check(Config({"default_scope": "no_such_library"}), ())


def test_classes_named_in_the_config_may_leave_categories_out(config: Path, coco: Path, tmp_path: Path) -> None:
    one_category_more(coco)
    cfg = Config.fromfile(config)
    cfg.update(work_dir=str(tmp_path))
    preflight.check(cfg, ("train", "val"))
    del cfg.train_dataloader.dataset["metainfo"]  # COCO's 80 then
    with pytest.raises(UserError, match="80 classes"):
        preflight.check(cfg, ("train",))


def test_only_known_mistakes_lose_their_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug() -> None:
        raise IndexError("list index out of range")

    def wrong() -> None:
        try:
            raise UserError("the file is wrong")
        except UserError as error:
            raise RuntimeError("while building") from error

    assert cli.run(lambda: None) == 0
    assert cli.run(bug) == 1
    assert "Traceback" in capsys.readouterr().err
    assert cli.run(wrong) == 1
    assert capsys.readouterr().err == "error: the file is wrong\n"
    monkeypatch.setenv(cli.TRACEBACK, "1")
    assert cli.run(wrong) == 1
    assert "Traceback" in capsys.readouterr().err


def test_usage(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option, told in (("model.backbone.window_size", "KEY=VALUE"), ("model=dict(a=1,b=2)", "'model=dict(a=1,b=2)'")):
        with pytest.raises(SystemExit) as exit_:
            tool("train").main([str(config), "--cfg-options", option])
        assert exit_.value.code == 2
        assert told in capsys.readouterr().err


def test_the_old_key_for_weights_is_named_with_the_way_that_works(tmp_path: Path) -> None:
    for key, place in (("model", "model.backbone"), ("model.backbone", "model.backbone")):
        cfg = Config(dict(model=dict(type="EncoderDecoder", backbone=dict(type="swinv2_dense.SwinTransformerV2"))))
        cfg.merge_from_dict({f"{key}.pretrained": "swin.pth"})
        with pytest.raises(UserError) as info:
            list(preflight._init_checkpoints(cfg.model, "model"))
        assert f"{key}.pretrained=swin.pth" in str(info.value)
        assert f"{place}.init_cfg=dict(type='Pretrained', checkpoint='swin.pth')" in str(info.value)


def test_a_key_after_a_path_is_not_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "x.pth").touch()
    preflight.check_checkpoint(f"{tmp_path}/x.pth#state_dict_ema", "load_from")
    with pytest.raises(UserError, match="does not exist"):
        preflight.check_checkpoint(f"{tmp_path}/y.pth#state_dict_ema", "load_from")


def test_weights_that_mmengine_would_read_are_read_safely_before(tmp_path: Path) -> None:
    """``init_cfg`` of a whole model or of a head is mmengine's to load, which may run the code in a pickle."""
    torch.save({"state_dict": {"a": torch.ones(1)}, "hook": print}, tmp_path / "x.pth")
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "x.pth"))
    for model in (dict(init_cfg=init_cfg), dict(roi_head=dict(init_cfg=init_cfg))):
        with pytest.raises(UserError, match=r"would run code \(builtins\.print\)"):
            preflight._check_checkpoints(Config(dict(model=model)))
