# Mask2Former (arXiv 2112.01527) for semantic segmentation on SwinV2-B, for training at 640 x 640 with a window of 40
# tokens. The head is mmdet's; mmseg turns its masks into class maps.
_base_ = "./mask2former_head.py"

head = _base_.mask2former_head
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        **_base_.imagenet_normalization,
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(640, 640),
    ),
    backbone=dict(type="swinv2_dense.SwinTransformerV2", arch="base", window_size=40, drop_path_rate=0.3),
    decode_head=dict(
        head,
        in_channels=[128, 256, 512, 1024],
        num_classes=150,
        align_corners=False,
        loss_cls=dict(head.loss_cls, class_weight=[1.0] * 150 + [0.1]),  # the last is "no object"
        train_cfg=_base_.mask2former_train_cfg,
    ),
    test_cfg=dict(mode="whole", crop_size=(640, 640), stride=(427, 427)),
)
