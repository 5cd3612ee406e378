"""HTC's RoI head with its semantic branch, which no checkpoint without that branch may fill in part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet.models.roi_heads import HybridTaskCascadeRoIHead
from torch import nn

from swinv2_dense.errors import UserError
from swinv2_dense.registry import MODELS

__all__ = ["SemanticHTCRoIHead"]


@MODELS.register_module()
class SemanticHTCRoIHead(HybridTaskCascadeRoIHead):
    """mmdet's, but weights of a head without the semantic branch are refused.

    mmdet's own programs (``init_detector``, ``DetInferencer``) load what fits and warn of the rest, so the branch would
    stay as it was initialised and spoil every detection. Weights of other parts alone, such as a backbone, are none of
    this module's.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_load_state_dict_pre_hook(_check_branch)


def _check_branch(module: nn.Module, state_dict: Mapping[str, Any], prefix: str, *_: Any) -> None:
    keys = [key for key in state_dict if key.startswith(prefix)]
    if keys and not any(key.startswith(f"{prefix}semantic_head.") for key in keys):
        raise UserError(
            f"the checkpoint has {prefix.removesuffix('.') or 'an RoI head'} without a semantic branch, "
            "which this config has: take the config it was trained with, htc_without_semantic_*, or other weights"
        )
