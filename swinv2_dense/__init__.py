"""SwinV2 for detection, segmentation and video recognition on OpenMMLab's runner.

Importing the package registers the backbones with mmengine (``custom_imports = dict(imports=['swinv2_dense'])``) and
imports none of mmdet, mmseg, mmaction2 and mmpretrain.
"""

from swinv2_dense import models as _models  # noqa: F401  registers

__version__ = "0.1.0"
