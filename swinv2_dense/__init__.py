"""SwinV2 for detection, segmentation and video recognition on OpenMMLab's runner.

Importing the package registers the backbones with mmengine (``custom_imports = dict(imports=['swinv2_dense'])``) and
imports none of mmdet, mmseg, mmaction2 and mmpretrain.
"""

import sys as _sys

__version__ = "0.1.0"

from swinv2_dense.compat import swinv2_dense_startup as _startup  # noqa: F401  offers what mmcv and mmaction2 lack

# `python -m swinv2_dense.doctor` is for installs in which torch or mmengine may not even import.
if "swinv2_dense.doctor" not in _sys.orig_argv:
    from swinv2_dense import models as _models  # noqa: F401  registers
