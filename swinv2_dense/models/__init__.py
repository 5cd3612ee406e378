"""What registers with mmengine. Models that need mmdet, mmseg or mmaction2 are modules of their own, named in configs."""

from swinv2_dense.models.swin_v2 import SwinTransformerV2
from swinv2_dense.models.video_swin_v2 import VideoSwinTransformerV2

__all__ = ["SwinTransformerV2", "VideoSwinTransformerV2"]
