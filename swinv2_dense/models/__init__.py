"""What registers with mmengine. What needs mmdet, mmseg or mmaction2 is a module of its own, named in configs."""

from swinv2_dense.models.necks import GlobalAttentionNeck
from swinv2_dense.models.simmim import SimMIMHead, SimMIMSwinTransformerV2
from swinv2_dense.models.swin_v2 import SwinTransformerV2
from swinv2_dense.models.video_swin_v2 import VideoSwinTransformerV2

__all__ = [
    "GlobalAttentionNeck",
    "SimMIMHead",
    "SimMIMSwinTransformerV2",
    "SwinTransformerV2",
    "VideoSwinTransformerV2",
]
