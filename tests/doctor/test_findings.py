"""Each broken install that people meet is recognised by name from the facts, with the command that fixes it; a healthy
install and absent extras give no finding."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from swinv2_dense.doctor import PARTS, Facts, examine

HEALTHY = Facts(
    versions={part.module: "1.0" for part in PARTS},
    distributions={part.distribution: "1.0" for part in PARTS} | {"transformers": "4.57.6", "setuptools": "80.10.2"},
    suppliers={part.module.split(".")[0]: (part.distribution,) for part in PARTS},
    operators="torchvision",
    torch_cuda="13.0",
)


def broken(module: str, error: str, **changes: Any) -> Facts:
    versions = {name: version for name, version in HEALTHY.versions.items() if name != module}
    return dataclasses.replace(HEALTHY, **({"versions": versions, "errors": {module: error}} | changes))


def suppliers(**names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    return HEALTHY.suppliers | names


def distributions(**versions: str) -> dict[str, str]:
    return HEALTHY.distributions | {name.replace("_", "-"): version for name, version in versions.items()}


EXT = "/site/mmcv/_ext.cpython-311-x86_64-linux-gnu.so: "
CASES = {
    "mmcv without any operators": (
        broken("mmcv.ops", "ModuleNotFoundError: No module named 'mmcv._ext'"),
        *("mmcv.ops", "torchvision's are not there", "install --no-deps --force-reinstall mmcv-lite"),
    ),
    "mmcv for another torch": (
        broken(
            *("mmcv.ops", f"ImportError: {EXT}undefined symbol: _ZN3c105ErrorC2E"),
            suppliers=suppliers(mmcv=("onedl-mmcv",)),
        ),
        *("mmcv.ops", "compiled for another torch", "uninstall --yes onedl-mmcv && {pip} install --no-deps"),
    ),
    "mmcv for another CUDA": (
        broken("mmcv.ops", "ImportError: libcudart.so.12: cannot open shared object file: No such file or directory"),
        *("mmcv.ops", "compiled for another torch", "mmcv-lite"),
    ),
    "mmcv for another GPU": (
        broken("mmcv.ops", "AcceleratorError: CUDA error: no kernel image is available for execution on the device"),
        *("mmcv.ops", "compiled for another GPU", "mmcv-lite"),
    ),
    "mmcv damaged": (
        broken("mmcv.ops", f"ImportError: {EXT}file too short"),
        *("mmcv.ops", "file too short", "mmcv-lite"),
    ),
    "no CUDA operators": (
        dataclasses.replace(
            HEALTHY, cards=("H200",), operators="compiled for CPU", suppliers=suppliers(mmcv=("mmcv",))
        ),
        *("mmcv.ops", "compiled for CPUs only, though there is a GPU", "uninstall --yes mmcv && {pip} install"),
    ),
    "torch for CPUs on a machine with a GPU": (
        dataclasses.replace(HEALTHY, gpu_present=True, torch_cuda=""),
        *("GPU", "this torch is built for CPUs", "torch torchvision"),
    ),
    "a GPU that torch does not see": (
        dataclasses.replace(HEALTHY, gpu_present=True),
        *("GPU", "CUDA_VISIBLE_DEVICES hides it, or its driver (nvidia-smi) is too old for CUDA 13.0", ""),
    ),
    "transformers 5": (
        dataclasses.replace(HEALTHY, distributions=distributions(transformers="5.2.0")),
        *("transformers", "transformers 5", "install 'transformers>=4.53,<5'"),
    ),
    "transformers 5, seen from mmdet": (
        broken("mmdet", "TypeError: NoneType takes no arguments"),
        *("mmdet", "transformers 5", "install 'transformers>=4.53,<5'"),
    ),
    "several OpenCVs of which the last works": (
        dataclasses.replace(HEALTHY, suppliers=suppliers(cv2=("opencv-contrib-python", "opencv-python"))),
        *("cv2", "works; 2 OpenCVs", "uninstall --yes opencv-contrib-python opencv-python && {pip} install --no-deps"),
    ),
    "several OpenCVs of which the last needs a display": (
        broken(
            *("cv2", "ImportError: libGL.so.1: cannot open shared object file"),
            suppliers=suppliers(cv2=("opencv-contrib-python", "opencv-python")),
        ),
        *(
            "cv2",
            "2 OpenCVs, of which the last one needs display libraries",
            "opencv-python && {pip} install --no-deps",
        ),
    ),
    "two mmengines": (
        dataclasses.replace(HEALTHY, suppliers=suppliers(mmengine=("mmengine", "onedl-mmengine"))),
        *("mmengine", "2 distributions of mmengine", "uninstall --yes mmengine onedl-mmengine && {pip} install"),
    ),
    "two mmdets": (
        dataclasses.replace(HEALTHY, suppliers=suppliers(mmdet=("mmdet", "onedl-mmdetection"))),
        *("mmdet", "2 distributions of mmdet", "uninstall --yes mmdet onedl-mmdetection && "),
    ),
    "OpenCV without display": (
        broken(
            "cv2",
            "ImportError: libGL.so.1: cannot open shared object file",
            suppliers=suppliers(cv2=("opencv-python",)),
        ),
        *(
            "cv2",
            "needs display libraries",
            "uninstall --yes opencv-python && {pip} install --no-deps opencv-contrib",
        ),
    ),
    "OpenCV lost files": (
        broken("cv2", "ModuleNotFoundError: No module named 'cv2'"),
        *("cv2", "lost files", "--force-reinstall"),
    ),
    "torchvision of another index": (
        broken("torchvision", "RuntimeError: operator torchvision::nms does not exist"),
        *("torchvision", "another build than torch", "torch torchvision"),
    ),
    "another NumPy": (
        broken("pycocotools", "ValueError: numpy.dtype size changed, may indicate binary incompatibility"),
        *("pycocotools", "another NumPy", "--no-cache-dir pycocotools"),
    ),
    "mmcv refused": (
        broken(
            "mmseg",
            "AssertionError: MMCV==2.3.6 is used but incompatible.",
            suppliers=suppliers(mmseg=("mmsegmentation",)),
        ),
        *("mmseg", "does not accept this mmcv", "mmsegmentation"),
    ),
    "mmaction2's wheel": (
        dataclasses.replace(HEALTHY, repairs=("stood in for the localizer DRN",)),
        *("mmaction", "its wheel is repaired while importing: stood in for the localizer DRN", ""),
    ),
    "a dependency is missing": (
        broken("mmseg", "ModuleNotFoundError: No module named 'ftfy'"),
        *("mmseg", "needs ftfy, which is not installed", "{pip} install 'ftfy'"),
    ),
    "something new": (
        broken("timm", "OSError: [Errno 5] a {strange} day\nand more"),
        *("timm", "OSError: [Errno 5] a {strange} day", "--force-reinstall"),
    ),
}
HARMLESS = {
    *("no CUDA operators", "torch for CPUs on a machine with a GPU", "a GPU that torch does not see"),
    *("several OpenCVs of which the last works", "mmaction2's wheel"),
}


@pytest.mark.parametrize("case", CASES)
def test_recognised(case: str) -> None:
    facts, module, problem, fix = CASES[case]
    findings = examine(facts, ("det", "seg", "video", "cls", "export", "web", "test"))
    assert set(findings) == {module}
    assert problem in findings[module].problem
    assert fix in findings[module].fix
    assert findings[module].broken == (case not in HARMLESS)
    assert "{" not in findings[module].fix.format(pip="pip")


def test_healthy() -> None:
    assert examine(HEALTHY, ("det", "seg", "video", "cls", "export", "web", "test")) == {}


def test_absent_parts_matter_only_where_they_are_required() -> None:
    base = {part.module: "1.0" for part in PARTS if not part.extras}
    facts = Facts(versions=base, suppliers={module: (module,) for module in base})
    assert examine(facts) == {}
    missing = examine(facts, ("seg",))
    assert set(missing) == {"cv2", "mmcv", "mmcv.ops", "mmseg"}
    assert all(finding.broken and finding.fix for finding in missing.values())
    assert set(examine(Facts())) == set(base)


def test_the_command_names_the_version_that_our_metadata_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told = ["timm>=1.0.15", "onedl-mmdetection>=3.5; extra == 'det'"]
    monkeypatch.setattr("swinv2_dense.doctor.findings.importlib.metadata.requires", lambda name: told)
    findings = examine(Facts(), ("det",))
    assert findings["timm"].fix == "{pip} install 'timm>=1.0.15'"
    assert findings["mmdet"].fix == "{pip} install 'onedl-mmdetection>=3.5'"


def test_what_follows_from_another_failure_points_to_it() -> None:
    error = "ModuleNotFoundError: No module named 'mmcv._ext'"
    findings = examine(broken("mmcv.ops", error, errors={"mmcv.ops": error, "mmdet": error}))
    assert findings["mmdet"].problem == "fails because mmcv.ops does"
    assert not findings["mmdet"].fix
