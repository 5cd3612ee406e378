# Objects365 v2, boxes of 365 classes: a short side of 800 to 1024 pixels. OBJECTS365_ROOT holds train/patch*/,
# val/patch*/ and annotations/{train,val}.json, which swinv2 prepare coco objects365 makes from
# zhiyuan_objv2_{train,val}.json.
import os.path as osp

dataset_type = "Objects365V2Dataset"
data_root = osp.join("{{'$OBJECTS365_ROOT:data/objects365/'}}", "")  # with or without a slash at the end
# The paper names no bound for the long side: 1024 * 1333 / 800.
long_side = 1706
test_scale = (long_side, 1024)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="RandomChoiceResize", scales=[(long_side, short) for short in range(800, 1025, 32)], keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=test_scale, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]

train_dataloader = dict(
    batch_size=1,  # 96 GPUs x 1 = the paper's 96
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler"),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file="annotations/train.json",
        data_prefix=dict(img="train/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file="annotations/val.json",
        data_prefix=dict(img="val/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="CocoMetric", ann_file=data_root + "annotations/val.json", metric="bbox")
test_evaluator = val_evaluator
