"""Facts are collected whatever happens while a part is imported: it may be absent, print, warn, or die."""

from __future__ import annotations

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


def test_torch_of_this_environment() -> None:
    torch = pytest.importorskip("torch")
    assert facts._cuda()["torch_cuda"] == (torch.version.cuda or "")
    assert len(facts._cuda()["cards"]) == torch.cuda.device_count()


def test_operators_of_this_environment() -> None:
    pytest.importorskip("mmcv.ops", reason="needs mmcv")
    facts._run_operator()
    assert facts._operators() == "torchvision" or facts._operators().startswith("compiled for CPU")
