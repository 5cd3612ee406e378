"""The tested set is complete, agrees with every extra on every Python, has one OpenCV; `make install` is pip on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")]
# They write into the same folders as distributions of the set; with both installed, whichever came last is used.
RIVALS = {
    *("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
    *("mmcv", "mmcv-full", "onedl-mmcv", "mmdet", "mmengine", "mmengine-lite", "mmpretrain", "mmsegmentation"),
}


def environment(python: str, platform: tuple[str, str]) -> dict[str, str]:
    full = f"{python}.9"
    return {
        "python_version": python,
        "python_full_version": full,
        "sys_platform": platform[0],
        "platform_machine": platform[1],
        "platform_python_implementation": "CPython",
        "extra": "",
    }


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [Requirement(line.partition("  #")[0]) for line in lines if line.strip() and not line.startswith("#")]


def holds(marker: Marker | None, python: str, platform: tuple[str, str]) -> bool:
    return marker is None or marker.evaluate(environment(python, platform))


def pins(python: str, platform: tuple[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in [*requirements("constraints.txt"), *requirements("constraints_web.txt")]:
        if holds(line.marker, python, platform):
            name, (pin,) = canonicalize_name(line.name), line.specifier
            assert name not in found, f"{name} twice for Python {python} on {platform}"
            assert pin.operator == "=="
            found[name] = pin.version
    return found


@pytest.mark.parametrize("platform", PLATFORMS, ids="-".join)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_set_holds_every_extra_in_a_version_that_it_accepts(python: str, platform: tuple[str, str]) -> None:
    found = pins(python, platform)
    # DeepSpeed compiles itself for a machine's own GPUs, and is no part of the tested set.
    others = {"constraints.txt", "constraints_web.txt", "overrides.txt", "deepspeed.txt"}
    files = [path.name for path in (ROOT / "requirements").glob("*.txt") if path.name not in others]
    assert len(files) == 11
    wanted = [r for file in files for r in requirements(file) if holds(r.marker, python, platform)]
    # The set has mmcv-lite, a wheel of the same modules, instead of a package that compiles itself.
    wanted = [r for r in wanted if r.name != "onedl-mmcv"]
    assert [str(r) for r in wanted if found.get(canonicalize_name(r.name), "0") not in r.specifier] == []


@pytest.mark.parametrize("python", PYTHONS)
def test_the_set_holds_one_opencv_and_no_rival(python: str) -> None:
    found = pins(python, PLATFORMS[0])
    assert [name for name in found if name.startswith("opencv")] == ["opencv-contrib-python-headless"]
    assert set(found).isdisjoint(RIVALS)
    assert "decord" not in found


def test_every_extra_is_in_the_metadata_and_all_is_all_tasks() -> None:
    text = (ROOT / "setup.cfg").read_text().partition("[options.extras_require]")[2].partition("\n\n")[0]
    extras = {name.strip(): value for name, _, value in (line.partition("=") for line in text.strip().splitlines())}
    tasks = {"det", "seg", "video", "cls"}
    assert set(extras) == tasks | {"export", "all", "tensorboard", "web", "deepspeed", "test", "docs"}
    assert [name for name in ("det", "seg", "video", "cls", "export") if f"/{name}.txt" not in extras["all"]] == []


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def made(tmp_path: Path, *options: str, target: str = "install") -> list[str]:
    """The commands that make would run."""
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not Path(p, "uv").exists())
    command = ["make", "--no-print-directory", "-n", target, "PYTHON=python3", f"VENV={tmp_path / 'venv'}", *options]
    environment = {k: v for k, v in os.environ.items() if k not in ("TORCH_INDEX", "MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment | {"PATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout.replace("\\\n", " ").splitlines()


@needs_make
def test_make_install_is_pip_on_the_set(tmp_path: Path) -> None:
    commands = made(tmp_path)
    assert any("--requirement requirements/constraints.txt" in c and "--only-binary :all:" in c for c in commands)
    assert any("torch==" in c and "torchvision==" in c and "--index-url" not in c for c in commands)
    assert any("--editable ." in c and "--no-deps" in c for c in commands)
    assert not any(c.split()[0].startswith(("c++", "g++", "gcc")) for c in commands)


@needs_make
def test_make_web_adds_what_the_page_needs_and_install_does_not(tmp_path: Path) -> None:
    (command,) = [c for c in made(tmp_path, target="web") if "constraints_web.txt" in c]
    assert "--no-deps" in command
    assert "--only-binary :all:" in command
    assert not any("constraints_web.txt" in c for c in made(tmp_path))


@needs_make
def test_a_finished_install_is_left_alone_and_another_torch_is_not(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "installed").touch()
    assert not any("pip install" in c for c in made(tmp_path))
    commands = made(tmp_path, "TORCH_INDEX=https://host/whl/cpu")
    assert any("--index-url https://host/whl/cpu --force-reinstall" in c and "torch==" in c for c in commands)


@needs_make
def test_the_index_of_torch_is_kept(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    assert any(
        "echo 'TORCH_INDEX ?= https://host/whl/cpu'" in c for c in made(tmp_path, "TORCH_INDEX=https://host/whl/cpu")
    )
    (venv / "index.mk").write_text("TORCH_INDEX ?= https://host/whl/cpu\n")
    assert any("--index-url https://host/whl/cpu" in c and "torch==" in c for c in made(tmp_path))


@needs_make
@pytest.mark.parametrize("name", ["requirements/constraints.txt", "setup.cfg"])
def test_a_changed_set_is_installed(tmp_path: Path, name: str) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "installed").touch()
    changed = (ROOT / name).stat().st_mtime - 1
    os.utime(venv / "installed", (changed, changed))
    assert any("--requirement requirements/constraints.txt" in c for c in made(tmp_path))
