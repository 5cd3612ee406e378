"""Any Python of an environment with the package can import mmcv.ops and mmaction, at no cost where it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import swinv2_dense
from swinv2_dense.compat import swinv2_dense_startup as startup

REPOSITORY = Path(__file__).parents[2]
PTH = Path(startup.__file__).with_suffix(".pth")


def python(*options: str, paths: tuple[Path, ...] = ()) -> str:
    """What a fresh Python prints, errors too; it must succeed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, *options], cwd=os.sep, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def ours() -> list[object]:
    return [finder for finder in sys.meta_path if hasattr(finder, "swinv2_dense")]


def test_it_imports_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import swinv2_dense_startup; print(sorted(set(sys.modules) - before))"
    )
    told = python("-I", "-S", "-c", f"import sys; sys.path.append({str(PTH.parent)!r}); {code}")
    assert told.strip() in ("['__future__', 'swinv2_dense_startup']", "['swinv2_dense_startup']")


def test_importing_the_package_registers_one_finder_before_all_and_one_after() -> None:
    assert swinv2_dense.__version__
    startup.install()
    another = ModuleType("swinv2_dense_startup")
    exec(Path(startup.__file__).read_text(), vars(another))  # as the installed copy does
    assert len(ours()) == 2
    assert sys.meta_path[0] is ours()[0]
    assert sys.meta_path[-1] is ours()[1]
    startup.install()
    assert len(ours()) == 2


def test_only_what_is_missing_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    finder = startup.OfferingFinder()
    spec = finder.find_spec("mmcv._ext")
    assert spec is not None
    assert spec.submodule_search_locations is None
    assert finder.find_spec("mmcv") is finder.find_spec("mmcv.ops") is None
    monkeypatch.setitem(sys.modules, "torchvision", None)  # not installed
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert finder.find_spec("mmcv._ext") is None


def test_a_compiled_extension_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv" / "__init__.py").touch()
    code = "import swinv2_dense_startup, mmcv._ext as e; print(e.__spec__.origin)"
    for compiled in ("swinv2_dense", str(tmp_path / "mmcv" / "_ext.py")):
        assert python("-c", code, paths=(tmp_path, PTH.parent, REPOSITORY)).splitlines()[-1] == compiled
        (tmp_path / "mmcv" / "_ext.py").touch()


def test_a_broken_package_does_not_break_mmaction(tmp_path: Path) -> None:
    for name, text in {"mmaction": "healthy = True", "swinv2_dense": "raise RuntimeError('broken')"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    assert "True" in python(
        "-c", "import swinv2_dense_startup, mmaction; print(mmaction.healthy)", paths=(tmp_path, PTH.parent)
    )


def test_whoever_imports_mmaction_gets_it_repaired(tmp_path: Path) -> None:
    pytest.importorskip("mmcv", reason="needs mmcv")
    files = {
        "__init__.py": "import mmcv\nassert mmcv.__version__ < '2.2', 'incompatible'\n",
        "models/__init__.py": "",
        "models/localizers/__init__.py": "from .drn.drn import DRN",
    }
    for name, text in files.items():
        (tmp_path / "mmaction" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mmaction" / name).write_text(text)
    code = (
        "import swinv2_dense_startup, mmcv; mmcv.__version__ = '2.3.6'\n"
        "from mmaction.models.localizers import DRN; import mmaction\n"
        "print(DRN.__module__, mmcv.__version__, type(mmaction.__spec__.loader).__name__)"
    )
    told = python("-c", code, paths=(tmp_path, PTH.parent, REPOSITORY))
    assert told.splitlines()[-1] == "swinv2_dense.compat.mmaction 2.3.6 SourceFileLoader"


def test_the_line_in_site_packages_never_fails(tmp_path: Path) -> None:
    """Python runs it whenever it starts; the module may be gone or broken."""
    shutil.copy(PTH, tmp_path)
    code = f"import site, sys; site.addsitedir({str(tmp_path)!r}); print('swinv2_dense_startup' in sys.modules)"
    assert python("-I", "-S", "-c", code) == "False\n"
    (tmp_path / "swinv2_dense_startup.py").write_text("1 / 0")
    assert python("-I", "-S", "-c", code) == "False\n"
    shutil.copy(startup.__file__, tmp_path)
    assert python("-I", "-S", "-c", code) == "True\n"


@pytest.mark.parametrize("hook", ["build_wheel", "build_editable"])
def test_every_way_of_installing_brings_it(hook: str, tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="builds the package")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(REPOSITORY / name, source)
    for folder in ("requirements", "swinv2_dense", "configs"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    build = (
        f"import os; os.chdir({str(source)!r}); from setuptools import build_meta; build_meta.{hook}({str(tmp_path)!r})"
    )
    python("-c", build)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for installed in (PTH, PTH.with_suffix(".py")):
            assert archive.read(installed.name) == installed.read_bytes()
