"""The installer: the lock is complete and agrees with the extras, finished work is recognised and broken work is not,
mmcv is compiled for the torch and the card that are there, and an interruption leaves nothing half done."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PYTHONS = [(3, 10), (3, 11), (3, 12)]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("install")


@pytest.fixture
def mmcv(install: ModuleType) -> ModuleType:
    return importlib.import_module("install_mmcv")


def distribution(site: Path, name: str, version: str, files: tuple[str, ...] = ("code.py",)) -> Path:
    """A distribution as pip leaves it."""
    dist_info = site / f"{name}-{version}.dist-info"
    dist_info.mkdir(parents=True)
    (site / name).mkdir(exist_ok=True)
    for file in files:
        (site / name / file).touch()
    rows = [f"{name}/{file},," for file in files] + [f"{name}/__pycache__/code.pyc,,", f"{dist_info.name}/RECORD,,"]
    (dist_info / "RECORD").write_text("\n".join(rows) + "\n")
    return dist_info


@pytest.fixture
def installer(install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An installer of an environment in which pip only notes what it is asked for."""
    made = install.Installer(tmp_path, "", "")
    made.site, made.include, made.version = tmp_path / "site", tmp_path, (3, 11)
    made.site.mkdir()
    made.lock = {"onedl-mmcv": "2.3.6", "addict": "2.4.0", "torch": "2.11.0", "torchvision": "0.26.0"}
    made.asked = []
    monkeypatch.setattr(made, "pip", lambda title, *arguments, **kwargs: made.asked.append(arguments))
    return made


def test_lock_lines_hold_for_one_python(install: ModuleType) -> None:
    text = '# said\nboth==1.0\nold==1.2; python_version < "3.11"  # why\nold==1.3; python_version >= "3.11"\n\n'
    assert install.read_lock(text, (3, 10)) == {"both": "1.0", "old": "1.2"}
    assert install.read_lock(text, (3, 11)) == {"both": "1.0", "old": "1.3"}


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_holds_every_extra_in_a_version_that_it_accepts(install: ModuleType, python: tuple[int, int]) -> None:
    lock = install.read_lock(install.LOCK.read_text(), python)
    # DeepSpeed compiles itself for a machine's own cards, and is no part of the tested set
    files = [p for p in (ROOT / "requirements").glob("*.txt") if p != install.LOCK and p.stem != "deepspeed"]
    lines = [line.partition("  #")[0] for path in files for line in path.read_text().splitlines()]
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len(files) == 6
    assert [str(r) for r in requirements if lock.get(r.name) is None or lock[r.name] not in r.specifier] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_holds_one_opencv_and_no_rival(install: ModuleType, python: tuple[int, int]) -> None:
    lock = install.read_lock(install.LOCK.read_text(), python)
    assert [name for name in lock if name.startswith("opencv")] == ["opencv-contrib-python-headless"]
    assert set(lock).isdisjoint(install.RIVALS)
    assert {*install.BUILD_TOOLS, *install.TORCH, install.MMCV} <= set(lock)


def test_distributions_by_normalised_name(install: ModuleType, tmp_path: Path) -> None:
    for name in ("Typing_Extensions", "ruamel.yaml", "~umpy"):
        distribution(tmp_path, name, "1.0")
    assert set(install.distributions(tmp_path)) == {"typing-extensions", "ruamel-yaml"}


def test_an_install_that_lost_a_file_or_never_ended_is_not_one(install: ModuleType, tmp_path: Path) -> None:
    def there(version: str) -> bool:
        return install.is_installed("torch", version, install.distributions(tmp_path))

    assert not there("2.11.0")
    dist_info = distribution(tmp_path, "torch", "2.11.0+cpu")
    assert there("2.11.0")
    assert not there("2.11.1")
    (tmp_path / "torch/code.py").unlink()
    assert not there("2.11.0")
    (tmp_path / "torch/code.py").touch()
    (dist_info / "RECORD").unlink()
    assert not there("2.11.0")


def test_only_what_is_missing_is_installed(installer: Any) -> None:
    distribution(installer.site, "addict", "2.4.0")
    installer.install_missing("some", ("addict", "torch"))
    assert [arguments[-1] for arguments in installer.asked] == ["torch==2.11.0"]
    installer.asked.clear()
    installer.install_missing("some", ("addict",))
    assert installer.asked == []


def test_torch_comes_from_the_index_that_was_given(installer: Any) -> None:
    for name in ("torch", "torchvision"):
        distribution(installer.site, name, installer.lock[name])
    installer.install_torch()
    assert installer.asked == []
    installer.torch_index = "https://host/cpu"
    installer.install_torch()
    assert installer.asked.pop()[:2] == ("--index-url", "https://host/cpu")
    installer.install_torch()
    assert installer.asked == [], "the same index again"


def test_mmcv_stays_as_long_as_it_fits(installer: Any) -> None:
    record = distribution(installer.site, "onedl_mmcv", "2.3.6") / "RECORD"
    assert not installer.has_mmcv("2.11.0+cu130", ""), "of unknown origin"
    installer.remember(mmcv=["2.11.0+cu130", "9.0", installer.mmcv_record()])
    assert installer.has_mmcv("2.11.0+cu130", "9.0")
    assert installer.has_mmcv("2.11.0+cu130", ""), "CUDA operators do no harm where there is no card"
    assert not installer.has_mmcv("2.11.0+cu130", "8.0"), "another card"
    assert not installer.has_mmcv("2.12.0+cu130", "9.0"), "another torch"
    record.write_text(record.read_text() + "onedl_mmcv/code.py,sha256=other,\n")
    assert not installer.has_mmcv("2.11.0+cu130", "9.0"), "installed anew by something else"


def test_an_interrupted_compilation_leaves_nothing_and_a_finished_one_its_wheel(
    installer: Any, install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache/key"
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(install.shutil, "which", lambda name: f"/usr/bin/{name}")

    def compiles(title: str, command: list[str], *arguments: Any, **kwargs: Any) -> None:
        Path(command[command.index("--wheel-dir") + 1], "onedl_mmcv-2.3.6-any.whl").write_text("wheel")

    def is_interrupted(*arguments: Any, **kwargs: Any) -> None:
        compiles(*arguments, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(install, "run", is_interrupted)
    with pytest.raises(KeyboardInterrupt):
        installer.compile_mmcv(folder, "", None)
    assert not folder.exists()
    monkeypatch.setattr(install, "run", compiles)
    installer.compile_mmcv(folder, "", None)
    assert [path.name for path in folder.parent.rglob("*")] == ["key", "onedl_mmcv-2.3.6-any.whl"]


def test_a_missing_compiler_is_told_before_compiling(
    installer: Any, install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    with pytest.raises(install.InstallError, match=r"C\+\+ compiler.*MMCV_FIND_LINKS"):
        installer.compile_mmcv(tmp_path / "cache/key", "", None)


def test_fingerprint_follows_the_environment(installer: Any) -> None:
    before = installer.fingerprint()
    assert installer.fingerprint() == before
    distribution(installer.site, "addict", "2.4.0")
    after = installer.fingerprint()
    assert after != before
    os.utime(installer.site / "addict-2.4.0.dist-info/RECORD", (1, 1))
    assert installer.fingerprint() not in (before, after)


def test_a_failing_command_shows_the_end_of_its_output(
    install: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    with pytest.raises(install.InstallError, match=re.escape(f"trying failed; the whole log is {log}")):
        install.run("trying", [sys.executable, "-c", "print('because'); raise SystemExit(3)"], log)
    assert "because" in capfd.readouterr().err
    assert "because" in log.read_text()


def test_stopping_a_command_stops_all_that_it_started(install: ModuleType, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 60 & echo $! > {pid_file}.new && mv {pid_file}.new {pid_file}; wait"
    child = "import subprocess, sys; subprocess.run(['bash', '-c', sys.argv[1]])"
    process = subprocess.Popen(
        [sys.executable, "-c", child, script.replace("trap '' INT; ", "")], start_new_session=True
    )
    while not pid_file.exists():
        time.sleep(0.01)
    install.stop(process)
    assert process.returncode != 0
    stat = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    deadline = time.monotonic() + 5
    while stat.exists() and stat.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_other_pythons_are_refused_in_one_line(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["install.py", "--venv", str(tmp_path / "venv")])
    for version in [(3, 9, 1), (3, 13, 0)]:
        monkeypatch.setattr(sys, "version_info", version)
        assert install.main() == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: Python")
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("torch", "nvcc", "wanted", "capabilities", "problem"),
    [
        ({"cuda": "13.0", "cards": []}, "13.0", None, "", ""),
        ({"cuda": "13.0", "cards": [[9, 0], [9, 0]]}, "13.0", None, "9.0", ""),
        ({"cuda": "13.0", "cards": [[9, 0], [8, 6]]}, "13.1", None, "8.6;9.0", ""),
        ({"cuda": "13.0", "cards": []}, "13.0", "8.0;9.0", "8.0;9.0", ""),
        ({"cuda": "13.0", "cards": [[9, 0]]}, None, None, "", "no nvcc: install the CUDA 13.0 toolkit"),
        ({"cuda": "13.0", "cards": [[9, 0]]}, "12.4", None, "", "nvcc is of CUDA 12.4"),
        ({"cuda": None, "cards": []}, "13.0", "9.0", "", "CPU build"),
    ],
)
def test_operators_are_compiled_for_the_visible_card(
    mmcv: ModuleType, torch: dict[str, Any], nvcc: str | None, wanted: str | None, capabilities: str, problem: str
) -> None:
    chosen, why_not = mmcv.operators(torch, nvcc, wanted)
    assert chosen == capabilities
    assert problem in why_not
    assert bool(problem) == bool(why_not)


def test_wheels_are_kept_apart(mmcv: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keys = [("2.3.6", "2.11.0+cpu", (3, 11), ""), ("2.3.6", "2.11.0+cu130", (3, 11), "")]
    keys += [("2.3.6", "2.11.0+cu130", (3, 12), ""), ("2.3.6", "2.11.0+cu130", (3, 12), "9.0")]
    folders = {mmcv.wheel_folder(*key) for key in keys}
    assert len(folders) == len(keys)
    assert {folder.parent for folder in folders} == {tmp_path / "swinv2_dense/wheels"}


def test_compiler_environment(mmcv: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CFLAGS", "-O3")
    monkeypatch.delenv("CXXFLAGS", raising=False)
    for_cpu, for_card = mmcv.compiler_environment("", None), mmcv.compiler_environment("9.0", Path("/cuda"))
    assert for_cpu["CFLAGS"] == "-O3"
    assert for_cpu["CXXFLAGS"] == "-O1 -g0"
    assert for_cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert (for_card["FORCE_CUDA"], for_card["TORCH_CUDA_ARCH_LIST"], for_card["CUDA_HOME"]) == ("1", "9.0", "/cuda")
    assert "CUDA_VISIBLE_DEVICES" not in for_card
