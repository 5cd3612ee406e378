"""Configs that are data run no code, and what comes from outside stays a value."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from swinv2_dense.checks.config_source import check_sources, read_config
from swinv2_dense.config_files import CONFIGS
from swinv2_dense.errors import UserError


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.mkdir ['{}']",
        "a: !!python/object/new:os.mkdir ['{}']",
        "a: !!python/name:os.system",
        "a: !!python/module:this",
        "a: [",
        "a: \x00",
    ],
)
def test_yaml_that_is_no_plain_data_is_refused(tmp_path: Path, text: str) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "a.yaml").write_text(text.replace("{}", str(trace)))
    with pytest.raises(UserError, match=r"a\.yaml is not read: it must be YAML of plain data"):
        read_config(tmp_path / "a.yaml")
    assert not trace.exists()


def test_plain_yaml_and_json_are_read(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(json.dumps({"a": 1, "b": {"c": 2}}))
    (tmp_path / "a.yaml").write_text("_base_: base.json\nb: &x {d: 3}\ne: *x\n")
    cfg = read_config(tmp_path / "a.yaml")
    assert (cfg.a, cfg.b.c, cfg.b.d, cfg.e.d) == (1, 2, 3, 3)


@pytest.mark.parametrize("kind", ["doubling", "loop"])
def test_endless_yaml_ends(tmp_path: Path, kind: str) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60))]
    (tmp_path / "a.yaml").write_text("\n".join(lines) if kind == "doubling" else "a: &a [*a]")
    start = time.monotonic()
    with pytest.raises(UserError, match="aliases make more than"):
        check_sources(tmp_path / "a.yaml")
    assert time.monotonic() - start < 60  # it took for ever


def test_loop_of_bases_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("_base_ = './b.py'")
    (tmp_path / "b.py").write_text("_base_ = ['./c.json']")
    (tmp_path / "c.json").write_text('{"_base_": ["a.py"]}')
    with pytest.raises(UserError, match=r"leads back to itself \(a\.py -> b\.py -> c\.json -> a\.py\)"):
        read_config(tmp_path / "a.py")


def test_a_base_that_two_share_is_no_loop(tmp_path: Path) -> None:
    (tmp_path / "root.py").write_text("a = 1")
    (tmp_path / "b.py").write_text("_base_ = 'root.py'\nb = 1")
    (tmp_path / "a.py").write_text("_base_ = ['b.py']")
    assert read_config(tmp_path / "a.py").b == 1


@pytest.mark.parametrize(
    ("config", "value", "fits"),
    [
        ("""a = "{{'$MY_ROOT:data'}}/x" """, "/data/coco 1", True),
        ("""a = "{{'$MY_ROOT:data'}}/x" """, '"; import os; os.mkdir("TRACE"); b = "', False),
        ("""a = '{{$MY_ROOT:data}}/x' """, "' + str(1) + '", False),
        ("""a = "{{'$MY_ROOT:data'}}/x" """, "C:\\data", False),
        ("""a = "{{'$MY_ROOT:data'}}/x" """, "a\nb", False),
        ("""a = {{'$MY_ROOT:80'}}""", "81", True),
        ("""a = {{'$MY_ROOT:80'}}""", "__import__('os').mkdir('TRACE')", False),
        ("""a = {{'$MY_ROOT:80'}}""", "open", False),
        ("""a = {{$MY_ROOT:80}}""", "exec(chr(97))", False),
    ],
)
def test_environment_variables_stay_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, value: str, fits: bool
) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "a.py").write_text(config)
    monkeypatch.setenv("MY_ROOT", value.replace("TRACE", str(trace)))
    if fits:
        assert str(read_config(tmp_path / "a.py").a).startswith(value)
    else:
        with pytest.raises(UserError, match=r"environment variable MY_ROOT=.* would become a part of config"):
            read_config(tmp_path / "a.py")
    assert not trace.exists()


def test_yaml_takes_no_tag_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("a: '{{$MY_ROOT:x}}'")
    monkeypatch.setenv("MY_ROOT", "' !!python/object/apply:os.getcwd []")
    with pytest.raises(UserError, match="MY_ROOT"):
        read_config(tmp_path / "a.yaml")
    monkeypatch.setenv("MY_ROOT", "/data/coco")
    assert read_config(tmp_path / "a.yaml").a == "/data/coco"


def test_what_is_no_config_file_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "latin.py").write_bytes(b"a = '\xe9'")
    (tmp_path / "a.txt").write_text("a = 1")
    (tmp_path / "a.json").write_text("[" * 100_000)
    for name in ("pipe.py", "folder.py", "latin.py", "a.txt", "a.json", "x" * 5000 + ".py"):
        with pytest.raises(UserError, match="config") as error:
            read_config(tmp_path / name)
        assert len(str(error.value)) < 800


def test_our_own_configs_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COCO_ROOT", "/data/my coco/")
    for path in sorted(CONFIGS.rglob("*.py")):
        check_sources(path)


def test_a_checkpoint_in_the_place_of_a_config(tmp_path: Path) -> None:
    (tmp_path / "epoch_1.pth").write_bytes(b"PK" + bytes(10))
    with pytest.raises(
        UserError, match=r"epoch_1\.pth is a checkpoint, and a config is to stand here: swinv2 test CONFIG"
    ):
        check_sources(tmp_path / "epoch_1.pth")
