"""Facts are collected whatever happens while a part is imported: it may be absent, print, warn, or die."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from swinv2_dense.doctor import Part, collect, facts


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_collect(modules: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (modules / "chatty_part.py").write_text("import warnings; print('hello'); warnings.warn('x'); __version__ = '1.2'")
    (modules / "dying_part.py").write_text("raise RuntimeError('no')")
    (modules / "shallow_part.py").write_text("")
    names = ("chatty_part", "dying_part", "shallow_part", "absent_part")
    parts = tuple(
        Part(name, "rich", imports=("shallow_part.deep",) if name.startswith("shallow") else ()) for name in names
    )
    monkeypatch.setattr(facts, "PARTS", parts)
    supplied = {name: ["somebody", "somebody"] for name in names[:-1]}
    monkeypatch.setattr(facts.importlib.metadata, "packages_distributions", lambda: supplied)
    reported: list[str] = []
    found = collect(reported.append)
    assert reported == list(names)  # torch is none of them: no kernel is looked for
    assert found.versions == {"chatty_part": "1.2"}
    assert found.errors["dying_part"] == "RuntimeError: no"
    assert set(found.errors) == {"dying_part", "shallow_part"}
    assert found.suppliers["chatty_part"] == ("somebody",)
    assert found.suppliers["absent_part"] == ()
    assert found.distributions["rich"]
    assert capsys.readouterr() == ("", "")


def test_the_version_is_that_of_whichever_distribution_is_there(modules: Path) -> None:
    """As ``mmcv.ops``, without a version of its own, of onedl-mmcv and of mmcv-lite."""
    (modules / "somewhere").mkdir()
    (modules / "somewhere" / "__init__.py").write_text("")
    (modules / "somewhere" / "operators.py").write_text("")
    (modules / "other-3.1.dist-info").mkdir()
    (modules / "other-3.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 3.1\n")
    (modules / "other-3.1.dist-info" / "top_level.txt").write_text("somewhere\n")
    assert facts._import(Part("somewhere.operators", "the-one-we-would-install")) == "3.1"


def test_torch_of_this_environment() -> None:
    torch = pytest.importorskip("torch")
    assert facts._cuda()["torch_cuda"] == (torch.version.cuda or "")
    assert len(facts._cuda()["cards"]) == torch.cuda.device_count()


def test_operators_of_this_environment() -> None:
    pytest.importorskip("mmcv.ops", reason="needs mmcv")
    facts._run_operator()
    assert facts._operators() == "torchvision" or facts._operators().startswith("compiled for CPU")


def test_why_there_are_no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason alone: what their absence means is said by the doctor's row."""
    from swinv2_dense.cpu import native

    native.library.cache_clear()
    monkeypatch.setattr(native, "_compiler", lambda: shlex.split('"g++'))
    try:
        assert facts._no_kernel(lambda part: None) == "No closing quotation"
    finally:
        native.library.cache_clear()
