"""A broken mmaction2 becomes importable, a healthy one is left as it is, and mmcv keeps its version."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

mmcv = pytest.importorskip("mmcv", reason="needs mmcv")

from swinv2_dense.compat import mmaction as compat

ASSERTION = "import mmcv\nassert mmcv.__version__ < '2.2', 'incompatible'\n"


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a healthy mmaction and transformers, before all others on the path."""
    drn = {f"mmaction/models/localizers/{name}": "" for name in ("__init__.py", "drn/__init__.py")}
    drn["mmaction/models/localizers/drn/drn.py"] = "class DRN: healthy = True\n"
    utils = {"mmaction/utils/__init__.py": "", "mmaction/utils/dependency.py": "WITH_MULTIMODAL = True\n"}
    code = {"mmaction/__init__.py": "__version__ = '9.0'\n", "mmaction/models/__init__.py": ""}
    helper = "def apply_chunking_to_forward(): ...\n"
    others = {"transformers/__init__.py": "", "transformers/modeling_utils.py": helper}
    write(tmp_path, drn | utils | code | others)
    ours = ("mmaction", "transformers")
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] in ours}
    for name in before:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(compat, "repairs", [])
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ours]:
        del sys.modules[name]


def test_a_healthy_one_is_left_as_it_is(site: Path) -> None:
    assert compat.import_mmaction().__version__ == "9.0"
    assert compat.repairs == []
    assert importlib.import_module("mmaction.models.localizers.drn.drn").DRN.healthy
    assert importlib.import_module("mmaction.utils.dependency").WITH_MULTIMODAL


def test_a_newer_mmcv_is_accepted_and_keeps_its_version(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmcv, "__version__", "2.3.6")
    write(site, {"mmaction/__init__.py": f"{ASSERTION}__version__ = '1.2.0'\n"})
    assert compat.import_mmaction().__version__ == "1.2.0"
    assert mmcv.__version__ == "2.3.6"
    assert compat.repairs == ["accepted mmcv 2.3.6"]


def test_mmcv_keeps_its_version_when_the_import_fails_all_the_same(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmcv, "__version__", "2.3.6")
    write(site, {"mmaction/__init__.py": f"{ASSERTION}raise ImportError('other')\n"})
    with pytest.raises(ImportError, match="other"):
        compat.import_mmaction()
    assert mmcv.__version__ == "2.3.6"


def test_the_missing_localizer_has_a_stand_in(site: Path) -> None:
    for file in ("__init__.py", "drn.py"):
        (site / "mmaction/models/localizers/drn" / file).unlink()
    (site / "mmaction/models/localizers/drn").rmdir()
    compat.import_mmaction()
    compat.import_mmaction()
    assert compat.repairs == ["stood in for the localizer DRN"]
    drn = importlib.import_module("mmaction.models.localizers.drn.drn").DRN
    with pytest.raises(ImportError, match="lacks DRN"):
        drn()


def test_multimodal_models_are_left_out_beside_a_current_transformers(site: Path) -> None:
    write(site, {"transformers/modeling_utils.py": ""})
    compat.import_mmaction()
    assert not importlib.import_module("mmaction.utils.dependency").WITH_MULTIMODAL
    assert compat.repairs == ["left out the multimodal models"]


@pytest.mark.skipif(importlib.util.find_spec("mmaction") is None, reason="needs mmaction2")
def test_the_installed_one_can_be_imported() -> None:
    rooms = ", ".join(f"mmaction.{room}" for room in ("models", "datasets", "engine", "evaluation", "apis"))
    code = (
        "from swinv2_dense.compat.mmaction import import_mmaction; mmaction = import_mmaction()\n"
        f"import mmcv; from mmcv.version import __version__ as version; assert mmcv.__version__ == version\n"
        f"import {rooms}; assert mmaction.models.Recognizer3D"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
