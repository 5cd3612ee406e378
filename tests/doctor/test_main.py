"""The table names every part, the exit status tells whether something is broken, and each command that fixes something
is printed once, for this environment and, in a checkout, with the tested versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swinv2_dense.doctor import PARTS, Facts, Finding
from swinv2_dense.doctor import __main__ as doctor

BASE = {part.module: "1.0" for part in PARTS if not part.extras}
COMPILED = Facts(versions=BASE | {"mmcv": "2.3.6"}, suppliers={"mmcv": ("onedl-mmcv",)})
NO_OPERATORS = {"errors": {"mmcv.ops": "ModuleNotFoundError: No module named 'mmcv._ext'"}}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "fixing", lambda finding: finding.fix and f"fix with {finding.fix}")


@pytest.mark.usefixtures("found")
def test_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "collect", lambda tell: Facts(versions=BASE))
    assert doctor.main([]) == 0
    out = capsys.readouterr().out
    assert [part.module for part in PARTS if f" {part.module} " not in out] == []
    assert "absent (extra det)" in out
    assert "to fix" not in out


@pytest.mark.usefixtures("found")
def test_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    facts = Facts(versions=COMPILED.versions, suppliers=COMPILED.suppliers, **NO_OPERATORS)
    monkeypatch.setattr(doctor, "collect", lambda tell: facts)
    assert doctor.main([]) == 1
    out = capsys.readouterr().out
    assert "mmcv has no operators" in out
    assert out.count("to fix: ") == 1


@pytest.mark.usefixtures("found")
def test_without_the_kernel_all_works_slowly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "collect", lambda tell: Facts(versions=BASE, no_kernel="no C++ compiler"))
    assert doctor.main([]) == 0
    assert "absent, torch is slower: no C++ compiler" in " ".join(capsys.readouterr().out.replace("│", "").split())


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("extra", ["det", "all"])
def test_required_but_absent(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "collect", lambda tell: Facts(versions=BASE))
    assert doctor.main([extra]) == 1


def test_unknown_extra() -> None:
    with pytest.raises(SystemExit) as exit_:
        doctor.main(["detection"])
    assert exit_.value.code == 2


def test_commands_for_this_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding("timm", "gone", "{pip} uninstall --yes timm && {pip} install 'timm>=1'")
    pip, tested = f"{sys.executable} -m pip", tmp_path / "constraints.txt"
    assert doctor.fixing(finding, tested) == f"{pip} uninstall --yes timm && {pip} install 'timm>=1'"
    tested.touch()
    assert doctor.fixing(finding, tested) == f"{pip} uninstall --yes timm && {pip} install -c {tested} 'timm>=1'"
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor.fixing(finding, tested) == "uv pip uninstall timm && uv pip install 'timm>=1'"
    assert doctor.fixing(finding._replace(fix=""), tested) == ""


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize(
    ("operators", "shown"), [("torchvision", "works, on torchvision's"), ("compiled for CPU", "compiled for CPU")]
)
def test_whose_operators(
    operators: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = BASE | {"mmcv": "2.2.0", "mmcv.ops": "2.2.0"}
    facts = Facts(versions=versions, suppliers={"mmcv": ("mmcv-lite",)}, operators=operators)
    monkeypatch.setattr(doctor, "collect", lambda tell: facts)
    assert doctor.main([]) == 0
    assert shown in capsys.readouterr().out


def test_runs_where_mmengine_does_not_import(tmp_path: Path) -> None:
    """The package itself needs mmengine; its doctor must not."""
    (tmp_path / "mmengine").mkdir()
    (tmp_path / "mmengine" / "__init__.py").write_text("raise ImportError('broken on purpose')")
    command = [sys.executable, "-m", "swinv2_dense.doctor"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "to fix:" in done.stdout
    assert "mmengine" in done.stdout
    assert "Traceback" not in done.stderr
