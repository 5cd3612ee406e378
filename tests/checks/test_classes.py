"""Class names and their order: what would swap or shift labels is refused, whatever kind of data set names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from swinv2_dense.checks.classes import (
    check_categories,
    check_heads,
    check_losses,
    check_same_classes,
    check_trained,
    classes_of,
    warn_of_other_input,
)
from swinv2_dense.errors import UserError


class Animals:
    METAINFO: ClassVar[dict[str, Any]] = {"classes": ("cat", "dog")}


def test_names_of_the_type_of_the_config_and_of_a_file(tmp_path: Path) -> None:
    assert classes_of("d", {}, Animals) == ["cat", "dog"]
    assert classes_of("d", {}, dict) is None
    assert classes_of("d", {"metainfo": {"classes": ["cow"]}}, Animals) == ["cow"]
    (tmp_path / "names.txt").write_text("cow\nfallow deer\n")
    assert classes_of("d", {"metainfo": {"classes": str(tmp_path / "names.txt")}}, Animals) == ["cow", "fallow deer"]


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ("cow", r"d.metainfo.classes='cow' is a string .*\('cow',\), with a comma"),
        ("lists/none.txt", "lists/none.txt does not exist: correct d.metainfo.classes"),
        (["cow", "ox", "cow"], "has the name 'cow' twice"),
        ([1, 2], "something other than names"),
    ],
)
def test_names_that_are_none(classes: Any, told: str) -> None:
    with pytest.raises(UserError, match=told):
        classes_of("d", {"metainfo": {"classes": classes}}, Animals)


@pytest.mark.parametrize(
    ("encoding", "told"), [("utf-8-sig", "byte order mark"), ("utf-16", "UTF-16"), ("gbk", "not UTF-8")]
)
def test_files_of_names_in_other_encodings(encoding: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("摔跤\n蹦极\n", encoding=encoding)
    with pytest.raises(UserError, match=f"names.txt.*{told}"):
        classes_of("d", {"metainfo": {"classes": str(tmp_path / "names.txt")}}, dict)


def test_every_head_has_as_many() -> None:
    model = {"roi_head": {"bbox_head": [{"num_classes": 2}, {"num_classes": 3}], "semantic_head": {"num_classes": 9}}}
    with pytest.raises(UserError, match=r"model\.roi_head\.bbox_head\.1\.num_classes=3, but d \(Animals\) has 2"):
        check_heads(model, "d", "Animals", ["cat", "dog"])
    model["roi_head"]["bbox_head"][1]["num_classes"] = 2  # type: ignore[index]
    check_heads(model, "d", "Animals", ["cat", "dog"])


@pytest.mark.parametrize(
    ("categories", "classes", "named", "told"),
    [
        (["dog", "cat"], ["cat", "dog"], True, r"another order .*label 0 is 'dog' in the file and 'cat' in the config"),
        (
            ["cat", "ox", "dog", "ewe"],
            ["cat", "dog", "ox"],
            True,
            "label 1 is 'ox' in the file and 'dog' in the config",
        ),
        (["cat", "dog"], ["cat", "dog", "ox"], True, "only in the config: ox"),
        (["pets", "cat", "dog"], ["cat", "dog"], False, "only in the file: pets"),
    ],
)
def test_categories_that_are_not_the_classes(categories: list[str], classes: list[str], named: bool, told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_categories("d", "x.json", categories, classes, named=named)


def test_categories_may_be_left_out_by_name() -> None:
    check_categories("d", "x.json", ["pets", "cat", "ox", "dog"], ["cat", "dog"], named=True)
    check_categories("d", "x.json", ["cat", "dog"], ["cat", "dog"], named=False)


@pytest.mark.parametrize(
    ("val", "told"), [(["dog", "cat"], "label 0 is 'dog' and 'cat'"), (["cat"], "label 1 is none and 'dog'")]
)
def test_training_and_validation_have_the_same(val: list[str], told: str) -> None:
    check_same_classes([("train", ["cat", "dog"]), ("val", ["cat", "dog"])])
    with pytest.raises(UserError, match=f"val has other classes than train.*{told}"):
        check_same_classes([("train", ["cat", "dog"]), ("val", val)])


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"decode_head": {"num_classes": 1, "loss_decode": {"type": "CrossEntropyLoss"}}}, "model.decode_head.num_cl"),
        ({"auxiliary_head": [{"num_classes": 1, "loss_decode": [{"use_sigmoid": False}]}]}, "auxiliary_head.0"),
        ({"cls_head": {"type": "I3DHead", "num_classes": 1}}, "model.cls_head.num_classes=1 with a softmax"),
        ({"decode_head": {"num_classes": 300, "loss_decode": {}}}, "num_classes=300: mmseg ignores the label 255"),
    ],
)
def test_losses_that_teach_nothing(model: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_losses(model)


def test_losses_of_one_class_that_teach() -> None:
    sigmoid = {"type": "CrossEntropyLoss", "use_sigmoid": True}
    check_losses({"decode_head": {"num_classes": 1, "out_channels": 1, "loss_decode": sigmoid}})
    check_losses({"decode_head": {"num_classes": 1, "loss_decode": {"type": "DiceLoss"}}})
    check_losses({"bbox_head": {"num_classes": 1, "loss_cls": {"type": "CrossEntropyLoss"}}})


@pytest.mark.parametrize(
    ("trained", "classes", "line"),
    [
        (("cat", "dog"), ("dog", "cat"), "label 0 is 'cat' in the weights and 'dog' in the data"),
        (["cat", "dog", "cow"], ("cat", "cow", "horse"), "label 1 is 'dog' in the weights and 'cow' in the data"),
        (("cat", "dog"), ("pig", "cat"), "label 1 is 'dog' in the weights and 'cat' in the data"),
    ],
)
def test_weights_of_another_order_are_refused(trained: Any, classes: Any, line: str) -> None:
    with pytest.raises(UserError, match=f"a.pth was trained with its classes in another order than test.*{line}"):
        check_trained("a.pth", trained, "test_dataloader.dataset", classes)


def test_classes_that_are_called_otherwise_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    check_trained("a.pth", ("cat", "dog"), "test_dataloader.dataset", ("cat", "Dog"))
    said = capsys.readouterr().err
    assert (
        "a.pth calls 1 of its classes otherwise than test_dataloader.dataset, the first 'dog' instead of 'Dog'" in said
    )


@pytest.mark.parametrize(
    ("trained", "classes"),
    [
        (("crane", "dog", "crane"), ["crane", "dog", "crane"]),  # two of ImageNet's classes have one name
        (None, ("cat",)),
        (("cat",), None),
        ("a file of names", ("cat",)),
    ],
)
def test_the_same_order_and_no_names_pass(trained: Any, classes: Any, capsys: pytest.CaptureFixture[str]) -> None:
    check_trained("a.pth", trained, "test_dataloader.dataset", classes)
    assert capsys.readouterr().err == ""


def test_other_input_than_in_training_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    trained = {"mean": (1, 2, 3), "bgr_to_rgb": True}
    names = ["mean", "bgr_to_rgb", "to_rgb"]
    warn_of_other_input("a.pth", trained, {"mean": [1, 2, 3], "bgr_to_rgb": True}, "model.data_preprocessor", names)
    warn_of_other_input("a.pth", None, {"mean": 3}, "model.data_preprocessor", names)
    assert capsys.readouterr().err == ""
    warn_of_other_input("a.pth", trained, {"mean": [1, 2, 3]}, "model.data_preprocessor", names)
    said = capsys.readouterr().err
    assert said.startswith(
        "warning: a.pth was trained with model.data_preprocessor.bgr_to_rgb=True, and the config has None"
    )
    assert said.count("\n") == 1
