# Mask2Former (arXiv 2112.01527) for COCO instances on SwinV2-T; training batches are 1024 x 1024.
_base_ = "./mask2former_head.py"

num_classes = 80
head = _base_.mask2former_head
model = dict(
    type="Mask2Former",
    data_preprocessor=dict(
        type="DetDataPreprocessor",
        **_base_.imagenet_normalization,
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_mask=True,
        batch_augments=[dict(type="BatchFixedSizePad", size=(1024, 1024), pad_mask=True)],
    ),
    backbone=dict(type="swinv2_dense.SwinTransformerV2", arch="tiny", window_size=16, drop_path_rate=0.3),
    panoptic_head=dict(
        head,
        in_channels=[96, 192, 384, 768],
        num_things_classes=num_classes,
        num_stuff_classes=0,
        loss_cls=dict(head.loss_cls, class_weight=[1.0] * num_classes + [0.1]),  # the last is "no object"
    ),
    panoptic_fusion_head=dict(
        type="MaskFormerFusionHead", num_things_classes=num_classes, num_stuff_classes=0, loss_panoptic=None
    ),
    train_cfg=_base_.mask2former_train_cfg,
    test_cfg=dict(panoptic_on=False, semantic_on=False, instance_on=True, max_per_image=100, iou_thr=0.8),
)
