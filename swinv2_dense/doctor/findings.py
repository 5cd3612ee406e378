"""The broken installs that people meet, recognised by name from the facts alone."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from swinv2_dense.doctor.facts import PARTS, Facts

__all__ = ["Finding", "examine"]


class Finding(NamedTuple):
    """What is the matter with a module, the command that mends it (with ``{pip}`` in it), and whether it must be."""

    module: str
    problem: str
    mend: str = ""
    broken: bool = True


_BUILD_TOOLS = "{pip} install 'setuptools>=77,<81' wheel ninja"
_COMPILE_MMCV = (
    f"{_BUILD_TOOLS} && CFLAGS='-O1 -g0' CXXFLAGS='-O1 -g0' {{pip}} install"
    " --force-reinstall --no-build-isolation --no-cache-dir --no-deps onedl-mmcv"
)
_AGAIN = "{pip} install --force-reinstall --no-deps --no-cache-dir {supplier}"
_BELOW_5 = "{pip} install 'transformers>=4.53,<5'"


class Symptom(NamedTuple):
    """What the error of some modules says, what that means, and what mends it."""

    modules: str
    error: str
    problem: str
    mend: str


# The first that fits is the one that counts.
_SYMPTOMS = (
    Symptom(
        r"mmcv\.ops", r"No module named 'mmcv\._ext'", "mmcv._ext is missing: built without operators", _COMPILE_MMCV
    ),
    Symptom(
        *(r"mmcv\.ops", r"undefined symbol|lib(c10|torch|cudart)\S*: cannot open"),
        *("mmcv was compiled for another torch", _COMPILE_MMCV),
    ),
    Symptom(r"mmcv\.ops", r"no kernel image", "mmcv was compiled for another card", _COMPILE_MMCV),
    Symptom(r"mmcv\.ops", r"", "{error}", _COMPILE_MMCV),
    Symptom(
        *(r"torchvision", r"torchvision::nms does not exist"),
        "torchvision is of another build than torch; take both from the same index",
        "{pip} install --force-reinstall torch torchvision",
    ),
    Symptom(
        *(r"cv2", r"lib(GL|gthread|SM|Xext)\S*: cannot open"),
        "this OpenCV needs display libraries, the headless one does not",
        "{pip} uninstall --yes {supplier} && {pip} install --no-deps {distribution}",
    ),
    Symptom(
        r"cv2", r"No module named 'cv2|has no attribute", "OpenCV has lost files, as after removing one of two", _AGAIN
    ),
    Symptom(r"mm\w+", r"NoneType takes no arguments", "mmpretrain cannot be imported beside transformers 5", _BELOW_5),
    Symptom(
        r".*", r"NumPy 1\.x|numpy\.dtype size changed|numpy\.core\.multiarray", "compiled for another NumPy", _AGAIN
    ),
    Symptom(
        r".*",
        r"(MMCV|MMEngine)==\S+ is used but incompatible",
        "does not accept this mmcv or mmengine: {error}",
        _AGAIN,
    ),
    Symptom(r".*", r"", "{error}", _AGAIN),
)


def examine(facts: Facts, required: Collection[str] = ()) -> dict[str, Finding]:
    """What is the matter, by module; nothing about a module means that it works, or is absent and not required.

    Args:
        required: The extras whose parts must be there, of ``det``, ``seg``, ``video`` and ``test``.
    """
    findings: dict[str, Finding] = {}
    for recognise in (
        _lite,
        _twins,
        _transformers,
        _setuptools,
        _errors,
        _no_cuda,
        _mmaction,
        _kernel,
        lambda f: _absent(f, required),
    ):
        for finding in recognise(facts):
            findings.setdefault(finding.module, finding)
    return findings


def _lite(facts: Facts) -> Iterator[Finding]:
    for name in facts.distributions:
        if re.fullmatch(r"(onedl-)?mmcv-lite", name):
            mend = f"{{pip}} uninstall --yes {' '.join(facts.suppliers.get('mmcv', (name,)))} && {_COMPILE_MMCV}"
            yield Finding("mmcv.ops", f"{name} is mmcv without its operators", mend)


def _twins(facts: Facts) -> Iterator[Finding]:
    for part in PARTS:
        names = facts.suppliers.get(part.module, ())
        if len(names) > 1:
            what = "two OpenCVs" if part.module == "cv2" else f"two distributions of {part.module}"
            again = _COMPILE_MMCV if part.module == "mmcv" else f"{{pip}} install --no-deps {part.distribution}"
            mend = f"{{pip}} uninstall --yes {' '.join(names)} && {again}"
            yield Finding(part.module, f"{what}, one written over the other: {', '.join(names)}", mend)


def _transformers(facts: Facts) -> Iterator[Finding]:
    version = facts.distributions.get("transformers", "0")
    if _major(version) >= 5 and facts.suppliers.get("mmpretrain"):
        problem = "transformers 5: mmpretrain, and with it mmdet, cannot be imported beside it"
        yield Finding("transformers", problem, _BELOW_5)


def _setuptools(facts: Facts) -> Iterator[Finding]:
    version = facts.distributions.get("setuptools", "77")
    if _major(version) < 77:
        yield Finding("setuptools", "too old to compile mmcv: rejects its licence field", _BUILD_TOOLS, broken=False)
    if _major(version) >= 81:
        yield Finding("setuptools", "too new to compile mmcv: has no pkg_resources", _BUILD_TOOLS, broken=False)


def _errors(facts: Facts) -> Iterator[Finding]:
    explained: dict[str, str] = {}
    for part in PARTS:
        error = facts.errors.get(part.module)
        if error is None:
            continue
        if error in explained:
            yield Finding(part.module, f"fails because {explained[error]} does")
            continue
        explained[error] = part.module
        missing = re.search(r"No module named '(\w+)'", error)
        if missing and missing[1] != part.module:
            yield Finding(part.module, f"needs {missing[1]}, which is not installed", _install(missing[1]))
            continue
        symptom = next(s for s in _SYMPTOMS if re.fullmatch(s.modules, part.module) and re.search(s.error, error))
        supplier = " ".join(facts.suppliers.get(part.module, ())) or part.distribution
        mend = symptom.mend.format(pip="{pip}", supplier=supplier, distribution=part.distribution)
        yield Finding(part.module, symptom.problem.format(error=error.strip().splitlines()[0]), mend)


def _no_cuda(facts: Facts) -> Iterator[Finding]:
    if facts.cards and facts.torch_cuda and facts.operators == "CPU":
        problem = f"CPU operators only, though there is a GPU: install the CUDA {facts.torch_cuda} toolkit, then mend"
        yield Finding("mmcv.ops", problem, _COMPILE_MMCV, broken=False)


def _mmaction(facts: Facts) -> Iterator[Finding]:
    if facts.repairs:
        yield Finding(
            "mmaction", f"works; its wheel is repaired while importing: {', '.join(facts.repairs)}", broken=False
        )


def _kernel(facts: Facts) -> Iterator[Finding]:
    if facts.no_kernel:
        yield Finding("CPU kernels", facts.no_kernel, broken=False)


def _absent(facts: Facts, required: Collection[str]) -> Iterator[Finding]:
    for part in PARTS:
        needed = not part.extras or not set(part.extras).isdisjoint(required)
        if needed and part.module not in facts.versions:
            what = f"for the extra {' or '.join(part.extras)}" if part.extras else "always"
            yield Finding(part.module, f"not installed, but needed {what}", _install(part.module))


def _install(module: str) -> str:
    """The command that brings a module which is not there, in the version that our own metadata asks for."""
    if module.startswith("mmcv"):
        return _COMPILE_MMCV
    wanted = next((part.distribution for part in PARTS if part.module == module), module)
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for line in importlib.metadata.requires("swinv2_dense") or ():
            requirement = line.partition(";")[0].strip()
            if re.split(r"[^\w.-]", requirement)[0] == wanted:
                wanted = requirement
                break
    return f"{{pip}} install '{wanted}'"


def _major(version: str) -> int:
    return int(version.split(".")[0])
