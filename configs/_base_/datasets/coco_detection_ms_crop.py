# The boxes of coco_instance_ms_crop.py. DETR's intermediate size has no bound of its own for the long side.
_base_ = "./coco_instance_ms_crop.py"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="RandomChoice",
        transforms=[
            [_base_.multi_scale],
            [
                dict(_base_.crop[0], scales=[(4200, short) for short in (400, 500, 600)]),
                dict(_base_.crop[1], recompute_bbox=False),
                _base_.multi_scale,
            ],
        ],
    ),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    *_base_.test_pipeline[:2],
    dict(type="LoadAnnotations", with_bbox=True),
    _base_.test_pipeline[3],
]
train_dataloader = dict(dataset=dict(filter_cfg=dict(filter_empty_gt=False), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(metric="bbox")
test_evaluator = val_evaluator
