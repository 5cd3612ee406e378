# Mask R-CNN (arXiv 1703.06870): one stage of Cascade Mask R-CNN.
_base_ = "./cascade_mask_rcnn_swinv2.py"

model = dict(
    type="MaskRCNN",
    roi_head=dict(
        _delete_=True,
        type="StandardRoIHead",
        bbox_roi_extractor=_base_.model.roi_head.bbox_roi_extractor,
        bbox_head=dict(
            _base_.model.roi_head.bbox_head[0],
            reg_class_agnostic=False,
            loss_bbox=dict(type="L1Loss", loss_weight=1.0),
        ),
        mask_roi_extractor=_base_.model.roi_head.mask_roi_extractor,
        mask_head=_base_.model.roi_head.mask_head,
    ),
    train_cfg=dict(
        rpn_proposal=dict(max_per_img=1000),
        rcnn=dict(
            _base_.model.train_cfg.rcnn[0],
            _delete_=True,
            assigner=dict(_base_.model.train_cfg.rcnn[0].assigner, match_low_quality=True),
        ),
    ),
)
