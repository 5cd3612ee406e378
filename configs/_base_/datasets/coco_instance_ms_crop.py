# Multi-scale as in coco_instance_ms.py; every second picture is cropped at an intermediate size first, as DETR's recipe
# and those that follow it do.
_base_ = "./coco_instance_ms.py"

crop = [
    dict(type="RandomChoiceResize", scales=[(1333, short) for short in (400, 500, 600)], keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_type="absolute_range",
        crop_size=(384, 600),
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
]
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomChoice", transforms=[[_base_.multi_scale], [*crop, _base_.multi_scale]]),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
