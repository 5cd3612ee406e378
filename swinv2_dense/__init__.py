"""SwinV2 for detection, segmentation and video recognition on OpenMMLab's runner.

    from swinv2_dense import Predictor
    result = Predictor("work_dirs/htc/epoch_36.pth")("street.jpg")

Importing the package imports neither torch nor mmengine: mmengine finds ``swinv2_dense.registry``, and through it our
types, when a config names the first of them (``type='swinv2_dense.SwinTransformerV2'``).
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Predictor", "get_model", "inference_model", "list_models"]

from swinv2_dense.compat import swinv2_dense_startup as _startup  # noqa: F401  offers what mmcv and mmaction2 lack

if TYPE_CHECKING:
    from swinv2_dense.inference import Predictor, get_model, inference_model, list_models


def __getattr__(name: str) -> Any:
    """The names above, imported when they are first used."""
    if name in __all__:
        from swinv2_dense import inference

        return getattr(inference, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
