"""Whether a checkpoint had everything that a model needs."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from swinv2_dense.errors import UserError

__all__ = ["check_complete"]


def check_complete(model: nn.Module, loaded: Collection[str], source: str) -> None:
    """Refuse weights that leave a parameter as it was initialised.

    Args:
        loaded: names of the parameters that were loaded.

    Raises:
        UserError: naming the first parameter that was not.
    """
    missing = [name for name, _ in model.named_parameters() if not {name, name.removeprefix("backbone.")} & set(loaded)]
    if missing:
        raise UserError(
            f"checkpoint {source} lacks {len(missing)} parameters of this model, or has them in another shape, "
            f"the first is {missing[0]}: it was trained with another config; give this one's"
        )
