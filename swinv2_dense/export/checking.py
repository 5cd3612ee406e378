"""Comparing a file with what its model predicts: maps and scores number by number, detections box by box."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.export.detectors import paste
from swinv2_dense.export.loaded import ExportedModel
from swinv2_dense.export.tasks import Exportable, exportable

__all__ = ["TOLERANCE", "Deviation", "check"]

TOLERANCE = {"fp32": 1e-4, "fp16": 5e-2}
"""How far a file may be from its model, relative to the largest output, by the precision that it computes in."""

# Where a model in float32 is further than the bound from itself in float64, how much further a file may be, and where
# it ends: rounding has tails, and the largest of a million differences is no steady number.
_SHARE, _LIMIT = 2, 1e-2


@dataclass
class Deviation:
    """Largest difference between the file's outputs and the model's for one input, relative to the largest output.
    ``rounding``: where that is beyond the bound, the model's own difference from its run in float64."""

    shape: tuple[int, ...]
    error: float
    rounding: float | None = None


@torch.no_grad()
def check(
    exported: ExportedModel, what: Exportable, inputs: Sequence[tuple[Tensor, ...]], precision: str, model: nn.Module
) -> list[Deviation]:
    """Compare the file with what the model predicts.

    A difference beyond the bound is one of rounding where the model in float32 is as far from its own run in float64:
    then the file may be twice as far from that run as the model is.

    Raises:
        UserError: they differ.
    """
    found, tolerance = [], TOLERANCE[precision]
    for given in inputs:
        x = given[0]
        outputs = exported(*(part.numpy() for part in given))
        tensors = {name: torch.from_numpy(output) for name, output in outputs.items()}
        references = what.reference(*given) if what.given is None else what.given(x, tensors, tolerance)
        wanted = {name: out.numpy() for name, out in zip(what.outputs, references, strict=False)}  # not DINO's queries
        rounding = None
        if "boxes" in wanted:
            error = _detections_differ(outputs, wanted, x, tolerance, what.notes.get("mask_threshold", 0.5))
        else:
            predicted = {name: what.as_predicted(name, out).numpy() for name, out in tensors.items()}
            error = _differ(predicted, wanted, x)
            if tolerance < error <= _LIMIT and precision == "fp32":
                rounding = _rounding(model, predicted, wanted, x)
        if not error <= tolerance and rounding is None:  # also where it is no number
            raise _differs(f"outputs differ by {error:.1e}, more than {tolerance:.0e}", x)
        found.append(Deviation(tuple(x.shape), error, rounding))
    return found


def _rounding(
    model: nn.Module, found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]], x: Tensor
) -> float | None:
    """The difference of the model from its run in float64, where that explains the file's; else None."""
    try:
        exact_outputs = exportable(copy.deepcopy(model).double()).reference(x.double())
    except (RuntimeError, TypeError):  # parts that know float32 alone
        return None
    exact = {name: out.numpy() for name, out in zip(wanted, exact_outputs, strict=True)}
    own = _differ(wanted, exact, x)
    return own if _differ(found, exact, x) <= _SHARE * own else None


def _differ(found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]], x: Tensor) -> float:
    return max(_difference(found[name], wanted[name], name, x) for name in found)


def _difference(found: NDArray[Any], wanted: NDArray[Any], name: str, x: Tensor) -> float:
    """The largest, relative to the largest number: the scores of a thousand classes may all be small."""
    if found.shape != wanted.shape:
        raise _differs(f"{name} of {found.shape} instead of {wanted.shape}", x)
    return float(np.abs(found - wanted).max(initial=0)) / max(1e-3, float(np.abs(wanted).max(initial=0)))


def _detections_differ(
    found: Mapping[str, NDArray[Any]],
    wanted: Mapping[str, NDArray[Any]],
    x: Tensor,
    tolerance: float = TOLERANCE["fp32"],
    threshold: float = 0.5,
) -> float:
    """Matches the boxes of every image, whose order is free where scores are nearly equal: every one of the model's
    needs one of its label in the file. Boxes are measured in image sides; masks by the pixels that differ, as a share
    of the box's."""
    side, error = max(x.shape[-2:]), 0.0
    for image in range(len(x)):
        theirs = [i for i in range(len(found["labels"][image])) if found["labels"][image, i] >= 0]
        ours = [i for i in range(len(wanted["labels"][image])) if wanted["labels"][image, i] >= 0]
        if len(theirs) != len(ours):
            raise _differs(f"{len(theirs)} boxes instead of {len(ours)}", x)
        for i in ours:
            candidates = [j for j in theirs if found["labels"][image, j] == wanted["labels"][image, i]]
            distances = {
                j: max(
                    float(np.abs(found["boxes"][image, j] - wanted["boxes"][image, i]).max()) / side,
                    abs(float(found["scores"][image, j] - wanted["scores"][image, i])),
                )
                for j in candidates
            }
            if not distances:
                raise _differs(f"no box of label {wanted['labels'][image, i]}", x)
            best = min(distances, key=lambda j: distances[j])
            theirs.remove(best)
            error = max(error, distances[best])
            if "masks" in found:
                box, mask = (torch.from_numpy(found[name][image, best : best + 1]) for name in ("boxes", "masks"))
                pixels = paste(mask, box, *x.shape[-2:])[0].numpy()
                # a pixel may lie on the threshold itself
                sure = np.abs(pixels - threshold) > max(1e-3, tolerance)
                differing = ((pixels >= threshold) != wanted["masks"][image, i])[sure].sum()
                error = max(error, float(differing) / max(1.0, float((box[0, 2:] - box[0, :2]).prod())))
    return error


def _differs(what: str, x: Tensor) -> UserError:
    shape = " x ".join(map(str, x.shape))
    return UserError(
        f"nothing was written: of an input of {shape} the file makes something else than the model: {what}"
    )
