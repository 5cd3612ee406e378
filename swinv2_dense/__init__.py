"""SwinV2 for detection, segmentation and video recognition on OpenMMLab's runner.

Importing the package imports neither torch nor mmengine: mmengine finds ``swinv2_dense.registry``, and through it our
types, when a config names the first of them (``type='swinv2_dense.SwinTransformerV2'``).
"""

__version__ = "0.1.0"

from swinv2_dense.compat import swinv2_dense_startup as _startup  # noqa: F401  offers what mmcv and mmaction2 lack
