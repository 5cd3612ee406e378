"""The wheel is whole: configs, kernels' sources and the command work from it, in an empty folder."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from swinv2_dense.config_files import CONFIGS

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow
pytest.importorskip("setuptools", minversion="77", reason="builds the package")
pytest.importorskip("wheel", reason="builds the package")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without network from a source distribution, which must be whole itself."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    kept_out = shutil.ignore_patterns(
        ".git", ".venv*", "__pycache__", "build", "dist", "work_dirs", "*.egg-info", ".*_cache"
    )
    shutil.copytree(ROOT, source, ignore=kept_out)
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(archive)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``swinv2`` in an environment that has the wheel and borrows everything else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    options = ["--no-deps", "--no-index", "--quiet", str(wheel)]
    python = str(next(scripts.glob("python*")))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *options], env=environment, check=True)
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    # addsitedir reads the .pth files there too: on Python 3.12 and later setuptools' own is what provides distutils
    borrowed = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    Path(packages.stdout.strip(), "borrowed.pth").write_text("\n".join(borrowed))
    return scripts / "swinv2"


def run(command: Path, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    return subprocess.run([command, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_what_it_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    configs = {path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*") if path.suffix in (".py", ".yml")}
    assert {f"swinv2_dense/configs/{name}" for name in configs} <= names
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "swinv2_dense").rglob("*") if path.is_file()}
    assert {name for name in sources if name.endswith((".py", ".cpp", ".h", ".typed"))} <= names
    assert not [
        name for name in names if name.startswith(("tests/", "tools/", "docs/", "configs/")) or name.endswith(".pyc")
    ]
    assert sum(path.file_size for path in zipfile.ZipFile(wheel).filelist) < 5e6


def test_models_and_version_from_an_empty_folder(command: Path, tmp_path: Path) -> None:
    assert run(command, tmp_path, "--version").stdout.startswith("swinv2_dense ")
    listed = run(command, tmp_path, "models", "--names").stdout.split()
    assert "coco/htc_swinv2_t" in listed
    assert len(listed) == len([p for p in CONFIGS.rglob("*.py") if "_base_" not in p.parts])
    assert "47.0" in run(command, tmp_path, "models", "upernet_swinv2_t").stdout
    assert not list(tmp_path.iterdir())


def test_train_by_name_from_an_empty_folder(command: Path, tmp_path: Path) -> None:
    pytest.importorskip("mmdet", reason="needs the det extra")
    from swinv2_dense.demo.shapes_coco import write_shapes_coco

    write_shapes_coco(tmp_path / "shapes", train=4, val=2, side=64)
    options = ["--fast-dev-run", "--cfg-options", "train_dataloader.batch_size=1"]
    done = run(command, tmp_path, "train", "htc_swinv2_demo", *options, SHAPES_ROOT=str(tmp_path / "shapes"))
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "fast-dev-run: training, validation and test ran without a mistake" in said
    for noise in ("OneDL", "Line NMS", "faster_coco_eval", "To copy construct"):
        assert noise not in said
    assert (tmp_path / "work_dirs" / "htc_swinv2_demo" / "fast_dev_run").is_dir()
