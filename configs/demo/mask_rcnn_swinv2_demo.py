# Mask R-CNN with a small SwinV2: the model of configs/coco/mask_rcnn_swinv2_t.py, small enough for two CPU cores. One
# stage of demo/htc_swinv2_demo's, on the same data without the semantic maps.
#
# Command: swinv2 demo --draw masks; swinv2 train demo/mask_rcnn_swinv2_demo --data my_masks
_base_ = "./htc_swinv2_demo.py"

roi_head = _base_.model.roi_head
stage = _base_.model.train_cfg.rcnn[0]
model = dict(
    type="MaskRCNN",
    data_preprocessor=dict(pad_seg=False),
    roi_head=dict(
        _delete_=True,
        type="StandardRoIHead",
        bbox_roi_extractor=roi_head.bbox_roi_extractor,
        bbox_head=dict(roi_head.bbox_head[0], reg_class_agnostic=False, loss_bbox=dict(type="L1Loss", loss_weight=1.0)),
        mask_roi_extractor=roi_head.mask_roi_extractor,
        mask_head=dict(
            type="FCNMaskHead",
            num_convs=4,
            in_channels=_base_.channels,
            conv_out_channels=_base_.channels,
            num_classes=len(_base_.classes),
            loss_mask=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rcnn=dict(
            stage,
            _delete_=True,
            assigner=dict(stage.assigner, match_low_quality=True),
            sampler=dict(stage.sampler, num=64),
        )
    ),
)

train_pipeline = [
    dict(step, with_seg=False) if step["type"] == "LoadAnnotations" else step for step in _base_.train_pipeline
]
train_dataloader = dict(dataset=dict(data_prefix=dict(_delete_=True, img="train2017/"), pipeline=train_pipeline))
