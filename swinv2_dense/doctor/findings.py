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
    """What is the matter with a module, the command that fixes it (with ``{pip}`` in it), and whether it must be."""

    module: str
    problem: str
    fix: str = ""
    broken: bool = True


# Without its dependencies: it asks for mmengine, which writes into the folder of onedl-mmengine.
_LITE = "{pip} install --no-deps --force-reinstall mmcv-lite"
_INSTEAD = f"{{pip}} uninstall --yes {{supplier}} && {_LITE}"
_AGAIN = "{pip} install --force-reinstall --no-deps --no-cache-dir {supplier}"
_TORCH = "{pip} install --force-reinstall torch torchvision"
_BELOW_5 = "{pip} install 'transformers>=4.53,<5'"


class Symptom(NamedTuple):
    """What the error of some modules says, what that means, and what fixes it."""

    modules: str
    error: str
    problem: str
    fix: str


# The first that fits is the one that counts.
_SYMPTOMS = (
    Symptom(
        *(r"mmcv\.ops", r"undefined symbol|lib(c10|torch|cudart)\S*: cannot open"),
        *("mmcv was compiled for another torch; without compiled operators it works on torchvision's", _INSTEAD),
    ),
    Symptom(
        *(r"mmcv\.ops", r"no kernel image"),
        *("mmcv was compiled for another GPU; without compiled operators it works on torchvision's", _INSTEAD),
    ),
    Symptom(
        r"mmcv\.ops", r"No module named 'mmcv\._ext'", "mmcv has no operators, and torchvision's are not there", _LITE
    ),
    Symptom(r"mmcv\.ops", r"", "{error}", _INSTEAD),
    Symptom(
        *(r"torchvision", r"torchvision::nms does not exist"),
        "torchvision is of another build than torch; take both from the same index",
        _TORCH,
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
        required: The extras whose parts must be there, of ``det``, ``seg``, ``video``, ``cls``, ``export``, ``web``,
            ``test``.
    """
    findings: dict[str, Finding] = {}
    for recognise in (
        _twins,
        _transformers,
        _errors,
        _no_cuda,
        _unused_gpu,
        _mmaction,
        _kernel,
        lambda f: _absent(f, required),
    ):
        for finding in recognise(facts):
            findings.setdefault(finding.module, finding)
    return findings


def _twins(facts: Facts) -> Iterator[Finding]:
    for part in PARTS:
        names = facts.suppliers.get(part.module, ())
        if len(names) < 2:
            continue
        again = f"{{pip}} uninstall --yes {' '.join(names)} && {_install(part.module)}"
        if part.module == "cv2":
            # OpenMMLab's packages ask for several, and pip installs them all; what counts is whether the last works.
            works, what = "cv2" in facts.versions, f"{len(names)} OpenCVs"
            if not works and "cannot open" in facts.errors.get("cv2", ""):
                what += ", of which the last one needs display libraries"
        else:
            works, what = False, f"{len(names)} distributions of {part.module}"
        problem = f"{'works; ' if works else ''}{what}, one written over the other: {', '.join(names)}"
        yield Finding(part.module, problem, again, broken=not works)


def _transformers(facts: Facts) -> Iterator[Finding]:
    version = facts.distributions.get("transformers", "0")
    if _major(version) >= 5 and facts.suppliers.get("mmpretrain"):
        problem = "transformers 5: mmpretrain, and with it mmdet, cannot be imported beside it"
        yield Finding("transformers", problem, _BELOW_5)


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
        supplier = " ".join(facts.suppliers.get(part.module.split(".")[0], ())) or part.distribution
        fix = symptom.fix.format(pip="{pip}", supplier=supplier, distribution=part.distribution)
        yield Finding(part.module, symptom.problem.format(error=error.strip().splitlines()[0]), fix)


def _no_cuda(facts: Facts) -> Iterator[Finding]:
    if facts.cards and facts.operators == "compiled for CPU":
        supplier = " ".join(facts.suppliers.get("mmcv", ())) or "mmcv"
        problem = "compiled for CPUs only, though there is a GPU: without compiled operators it works on torchvision's"
        yield Finding("mmcv.ops", problem, _INSTEAD.format(pip="{pip}", supplier=supplier), broken=False)


def _unused_gpu(facts: Facts) -> Iterator[Finding]:
    if not facts.gpu_present or facts.cards or "torch" not in facts.versions:
        return
    if facts.torch_cuda:
        why = f"CUDA_VISIBLE_DEVICES hides it, or its driver (nvidia-smi) is too old for CUDA {facts.torch_cuda}"
        yield Finding("GPU", f"there is one, but torch sees none: {why}", broken=False)
    else:
        yield Finding("GPU", "there is one, but this torch is built for CPUs", _TORCH, broken=False)


def _mmaction(facts: Facts) -> Iterator[Finding]:
    if facts.repairs:
        yield Finding(
            "mmaction", f"works; its wheel is repaired while importing: {', '.join(facts.repairs)}", broken=False
        )


def _kernel(facts: Facts) -> Iterator[Finding]:
    if facts.no_kernel:
        yield Finding("CPU kernels", f"absent, torch is slower: {facts.no_kernel}", broken=False)


def _absent(facts: Facts, required: Collection[str]) -> Iterator[Finding]:
    for part in PARTS:
        needed = not part.extras or not set(part.extras).isdisjoint(required)
        if needed and part.module not in facts.versions:
            what = f"for the extra {' or '.join(part.extras)}" if part.extras else "always"
            yield Finding(part.module, f"not installed, but needed {what}", _install(part.module))


def _install(module: str) -> str:
    """The command that installs a module which is not there, in the version that our own metadata asks for."""
    if module.startswith("mmcv"):
        return _LITE
    wanted = next((part.distribution for part in PARTS if part.module == module), module)
    without = "--no-deps " if wanted.startswith("opencv") or wanted == "mmaction2" else ""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for line in importlib.metadata.requires("swinv2_dense") or ():
            requirement = line.partition(";")[0].strip()
            if re.split(r"[^\w.-]", requirement)[0] == wanted:
                wanted = requirement
                break
    return f"{{pip}} install {without}'{wanted}'"


def _major(version: str) -> int:
    return int(version.split(".")[0])
