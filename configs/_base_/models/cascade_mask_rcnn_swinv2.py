# Cascade Mask R-CNN (arXiv 1712.00726): HTC's box cascade, a mask head beside each stage, none fed by another.
_base_ = "./htc_without_semantic_swinv2.py"

model = dict(
    type="CascadeRCNN",
    backbone=dict(window_size=16),
    roi_head=dict(
        _delete_=True,
        type="CascadeRoIHead",
        num_stages=_base_.model.roi_head.num_stages,
        stage_loss_weights=_base_.model.roi_head.stage_loss_weights,
        bbox_roi_extractor=_base_.model.roi_head.bbox_roi_extractor,
        bbox_head=_base_.model.roi_head.bbox_head,
        mask_roi_extractor=_base_.model.roi_head.mask_roi_extractor,
        mask_head=dict(
            type="FCNMaskHead",
            num_convs=4,
            in_channels=_base_.fpn_channels,
            conv_out_channels=_base_.fpn_channels,
            num_classes=_base_.num_classes,
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
        ),
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5))),
)
