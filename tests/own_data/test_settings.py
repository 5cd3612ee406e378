"""From a folder to a config that trains on it: found, split, set, written, and trained again from what was written."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from swinv2_dense.cli.main import main
from swinv2_dense.errors import UserError
from swinv2_dense.own_data import Choices, use_own_data
from tests.own_data.makers import class_folders, coco, image, maps, voc, voc_object, yolo
from tests.processes import forkserver
from tests.tiny import REPOSITORY, mistake, tool

BOXES = "0 0.5 0.5 0.5 0.5\n1 0.3 0.3 0.4 0.4\n"
ARCH = "dict(_delete_=True, embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))"
SMALL = {
    "coco/faster_rcnn_swinv2_t": f"""
model = dict(
    backbone=dict(arch={ARCH}, window_size=4),
    neck=dict(in_channels=[8, 16, 32, 64], out_channels=8),
    rpn_head=dict(in_channels=8, feat_channels=8),
    roi_head=dict(bbox_roi_extractor=dict(out_channels=8), bbox_head=dict(in_channels=8, fc_out_channels=8)),
    test_cfg=dict(rpn=dict(nms_pre=20, max_per_img=20), rcnn=dict(score_thr=0.0, max_per_img=5)),
)
""",
    "ade20k/upernet_swinv2_t": f"""
model = dict(
    backbone=dict(arch={ARCH}, window_size=4),
    decode_head=dict(in_channels=[8, 16, 32, 64], channels=8),
    auxiliary_head=dict(in_channels=32, channels=8),
)
""",
    "kinetics400/swinv2_t_256": f"""
model = dict(backbone=dict(arch={ARCH}, window_size=(2, 4, 4)), cls_head=dict(in_channels=64))
""",
}
LOADERS = """
train_dataloader = dict(num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = dict(num_workers=0, persistent_workers=False)
"""


def small(name: str, folder: Path) -> Path:
    path = folder / "small.py"
    path.write_text(f"_base_ = {str(REPOSITORY / 'configs' / f'{name}.py')!r}\n{SMALL[name]}{LOADERS}")
    return path


def load(name: str, work_dir: Path) -> Config:
    cfg = Config.fromfile(REPOSITORY / "configs" / f"{name}.py")
    cfg.work_dir = str(work_dir)
    return cfg


@pytest.fixture(autouse=True)
def _unformatted(clean_run: None) -> None:
    """Configs are written without laying them out prettily, which takes seconds."""


def test_boxes_of_every_format_become_the_same_data_set(tmp_path: Path) -> None:
    names = [f"{n}" for n in range(10)]
    made = {
        "yolo": yolo(tmp_path / "yolo", dict.fromkeys(names, "1 0.5 0.5 0.5 0.5"), "names: [cat, dog]"),
        "voc": voc(tmp_path / "voc", dict.fromkeys(names, voc_object("dog", (16, 11, 45, 30)))),
        "coco": coco(tmp_path / "coco/a.json", {f"{n}.jpg": ["dog"] for n in names}),
    }
    for kind, data in made.items():
        cfg, said = use_own_data(load("coco/faster_rcnn_swinv2_t", tmp_path / kind / "w"), data, Choices())
        init_default_scope("mmdet")
        train = DATASETS.build({**cfg.train_dataloader.dataset, "pipeline": []})
        val = DATASETS.build({**cfg.val_dataloader.dataset, "pipeline": []})
        assert (len(train), len(val)) == (8, 2)
        assert {Path(train.get_data_info(i)["img_path"]).stem for i in range(8)}.isdisjoint(
            Path(val.get_data_info(i)["img_path"]).stem for i in range(2)
        )
        assert "dog" in train.metainfo["classes"]
        assert cfg.model.roi_head.bbox_head.num_classes == len(train.metainfo["classes"])
        label = train.metainfo["classes"].index("dog")
        assert train.get_data_info(0)["instances"][0]["bbox_label"] == label
        assert cfg.val_evaluator.ann_file == cfg.val_dataloader.dataset.ann_file
        assert any("a fifth of the data" in line for line in said)
        # images of 40 x 60 are enlarged twice at most
        assert min(cfg.val_dataloader.dataset.pipeline[1].scale) in (64, 96)
        assert "train_pipeline" not in cfg


def test_the_written_config_says_the_same(tmp_path: Path) -> None:
    data = yolo(tmp_path / "data", dict.fromkeys("abcdef", BOXES))
    choices = Choices(image_size=128, epochs=3, batch=2, seed=5)
    cfg, _ = use_own_data(load("coco/faster_rcnn_swinv2_t", tmp_path / "w"), data, choices)
    written = Config.fromfile(tmp_path / "w/own_data/config.py")
    assert {k: v for k, v in written.to_dict().items() if k not in ("work_dir", "launcher")} == {
        k: v for k, v in cfg.to_dict().items() if k not in ("work_dir", "launcher")
    }
    assert (written.train_cfg.max_epochs, written.train_dataloader.batch_size) == (3, 2)
    before = json.loads((tmp_path / "w/own_data/val.json").read_text())
    use_own_data(load("coco/faster_rcnn_swinv2_t", tmp_path / "w"), data, choices)
    assert json.loads((tmp_path / "w/own_data/val.json").read_text()) == before


def test_maps_are_stored_for_the_loader(tmp_path: Path) -> None:
    data = maps(tmp_path / "data", {name: [0, 1, 200] for name in "abcdef"})
    (data / "classes.txt").write_text("sky\nsea\n")
    cfg, _ = use_own_data(load("ade20k/upernet_swinv2_t", tmp_path / "w"), data, Choices(ignore=[200], image_size=64))
    init_default_scope("mmseg")
    assert cfg.model.decode_head.num_classes == cfg.model.auxiliary_head.num_classes == 2
    from swinv2_dense.datasets import index_maps  # noqa: F401

    loading = cfg.train_dataloader.dataset.pipeline[:2]
    (first, *_) = DATASETS.build({**cfg.train_dataloader.dataset, "pipeline": loading})
    assert sorted(set(first["gt_seg_map"].ravel().tolist())) == [0, 1, 255]


def test_class_folders_of_clips(tmp_path: Path) -> None:
    for name in ("wave", "jump high"):
        for number in range(3):
            place = tmp_path / "data" / name / f"{number} a.mp4"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    cfg, _ = use_own_data(load("kinetics400/swinv2_t_256", tmp_path / "w"), tmp_path / "data", Choices())
    assert cfg.model.cls_head.num_classes == cfg.train_dataloader.dataset.num_classes == 2
    init_default_scope("mmaction")
    from swinv2_dense.datasets import video_clips  # noqa: F401

    dataset = DATASETS.build({**cfg.train_dataloader.dataset, "pipeline": []})
    assert {(Path(e["filename"]).parent.name, e["label"]) for e in (dataset.get_data_info(i) for i in range(5))} == {
        ("jump high", 0),
        ("wave", 1),
    }
    assert Path(dataset.get_data_info(0)["filename"]).is_file()


def test_images_that_the_data_set_leaves_out_are_counted(tmp_path: Path) -> None:
    data = yolo(tmp_path / "data", {**dict.fromkeys("abcdefgh", BOXES), "x": "", "y": ""})
    for name in "ghy":
        image(tmp_path / f"data/images/train/{name}.jpg", (31, 200))
    image(tmp_path / "data/images/train/f.jpg", (32, 200))
    text = data.read_text()
    yolo(tmp_path / "data", dict.fromkeys("kl", BOXES), folder="val")
    data.write_text(text + "val: images/val\n")
    cfg, said = use_own_data(load("coco/faster_rcnn_swinv2_t", tmp_path / "w"), data, Choices())
    assert any("10 images to train on" in line for line in said)
    assert "2 images without objects are not trained on" in said
    assert any(line.startswith("not trained on: 2 images have a side below 32 pixels") for line in said)
    init_default_scope("mmdet")
    assert len(DATASETS.build({**cfg.train_dataloader.dataset, "pipeline": []})) == 6
    for name in "abcdef":
        image(tmp_path / f"data/images/train/{name}.jpg", (20, 20))
    with pytest.raises(UserError, match=r"all 8 images have a side below 32.*filter_cfg\.min_size=1"):
        use_own_data(load("coco/faster_rcnn_swinv2_t", tmp_path / "w"), data, Choices())
    lowered = load("coco/faster_rcnn_swinv2_t", tmp_path / "w")
    lowered.train_dataloader.dataset.filter_cfg.min_size = 1
    cfg, _ = use_own_data(lowered, data, Choices())
    assert len(DATASETS.build({**cfg.train_dataloader.dataset, "pipeline": []})) == 8


def test_what_does_not_fit_the_config(tmp_path: Path) -> None:
    folders = class_folders(tmp_path / "folders", {"a": 2, "b": 2})
    boxes = load("coco/faster_rcnn_swinv2_t", tmp_path / "w")
    with pytest.raises(UserError, match=r"no COCO \.json"):
        use_own_data(boxes, folders, Choices())
    with pytest.raises(UserError, match="does not exist"):
        use_own_data(boxes, tmp_path / "nowhere", Choices())
    with pytest.raises(UserError, match="--ignore is about index maps"):
        use_own_data(boxes, folders, Choices(ignore=[0]))
    with pytest.raises(UserError, match="trains on a folder"):
        use_own_data(load("ade20k/upernet_swinv2_t", tmp_path / "w"), folders / "a/0.jpg", Choices())
    with pytest.raises(UserError, match="holds no object"):
        use_own_data(boxes, voc(tmp_path / "voc", {"a": "", "b": ""}), Choices())


def tensorboard_scalars(work_dir: Path) -> dict[str, float]:
    """The last value of every scalar in a run's event file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (file,) = work_dir.rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file)).Reload()
    return {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("name", ["coco/faster_rcnn_swinv2_t", "ade20k/upernet_swinv2_t"])
@pytest.mark.slow
def test_the_command_trains_and_its_config_trains_again(name: str, tmp_path: Path) -> None:
    if name.startswith("coco"):
        data = yolo(tmp_path / "data", dict.fromkeys("abcdef", BOXES))
    else:
        pytest.importorskip("tensorboard", reason="needs the tensorboard extra")
        data = maps(tmp_path / "data", {name: [0, 1, 255] for name in "abcdef"})
    options = ["--image-size", "64", "--epochs", "1", "--batch", "2"]
    argv = [str(small(name, tmp_path)), "--data", str(data), "--work-dir", str(tmp_path / "w"), *options]
    if name.startswith("ade20k"):
        argv += ["--tensorboard", "--cfg-options", "sync_bn=None"]
    tool("train").main(argv)
    assert list((tmp_path / "w").glob("best_*.pth"))
    if name.startswith("ade20k"):
        written = tensorboard_scalars(tmp_path / "w")
        assert {"loss", "lr", "mIoU", "aAcc"} <= set(written)
        assert 0 <= written["mIoU"] <= 100
    again = [str(tmp_path / "w/own_data/config.py"), "--work-dir", str(tmp_path / "again"), "--fast-dev-run"]
    tool("train").main(again)


@pytest.mark.slow
def test_several_processes_train_on_what_the_first_one_prepared(tmp_path: Path) -> None:
    data = yolo(tmp_path / "data", dict.fromkeys("abcdefghij", BOXES))
    config = small("coco/faster_rcnn_swinv2_t", tmp_path)
    options = ["--data", str(data), "--work-dir", str(tmp_path / "w"), "--image-size", "64", "--epochs", "1"]
    options += ["--batch", "2", "--launcher", "pytorch", "--cfg-options", "env_cfg.dist_cfg.backend=gloo"]

    argv = [str(config), *options]
    first, second = together(argv, tmp_path / "log")
    assert (first.exitcode, second.exitcode) == (0, 0), (tmp_path / "log_0").read_text()[-3000:]
    said = [(tmp_path / f"log_{rank}").read_text() for rank in range(2)]
    assert ["8 images to train on, 2 to validate" in text for text in said] == [True, False]
    assert "1 epochs in batches of 2 in each of 2 processes" in said[0]
    assert "Epoch(train) [1][2/2]" in said[0]  # 8 images in batches of 2, shared by two
    assert list((tmp_path / "w").glob("best_*.pth"))
    (data.parent / "labels/train/a.txt").write_text("7 0.5 0.5 0.5 0.5\n")
    together(argv, tmp_path / "log")
    for rank in range(2):  # none waits for ever
        line = (tmp_path / f"log_{rank}").read_text().splitlines()[-1]
        assert line.startswith("error: ") and "a.txt" in line


def together(argv: list[str], log: Path) -> list[Any]:
    """``swinv2 train`` in two processes, as torchrun starts them; their output goes to LOG_0 and LOG_1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free.getsockname()[1]), WORLD_SIZE="2")
    started: list[Any] = []
    for rank in "01":
        environment = meeting | {"RANK": rank, "LOCAL_RANK": rank}
        started.append(forkserver.Process(target=_program, args=(argv, environment, f"{log}_{rank}")))
        started[-1].start()
    for process in started:
        process.join(240)
    return started


def _program(argv: list[str], environment: dict[str, str], log: str) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(log, "w", buffering=1)  # noqa: SIM115
    status = main(["train", *argv])
    sys.stderr.flush()
    os._exit(status)


def test_options_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(small("coco/faster_rcnn_swinv2_t", tmp_path))
    assert "--epochs goes with --data" in mistake("train", [config, "--epochs", "2"], capsys)
    several = [config, "--data", str(tmp_path), "--launcher", "pytorch"]
    assert "expects torchrun" in mistake("train", several, capsys)
    with pytest.raises(SystemExit):
        tool("train").main([config, "--batch", "many"])
    assert "neither a number from 1 on nor auto" in capsys.readouterr().err
