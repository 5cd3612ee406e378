# COCO 2017 instances with InstaBoost and large-scale jitter: the picture is scaled by 0.1 to 2.0 relative to 1536 x
# 1536, a window of at most 1536 x 1536 is cut from it. The leaf pads the batch to exactly that
# (model.data_preprocessor).
import os.path as osp

dataset_type = "CocoDataset"
data_root = osp.join("{{'$COCO_ROOT:data/coco/'}}", "")  # with or without a slash at the end
image_size = (1536, 1536)
# "1100" in the paper's tables is read as the short side, in pixels; the long side keeps the customary 1333:800 bound,
# 1100 * 1333 / 800 = 1833. Resize takes (long, short) in any order.
test_scale = (1833, 1100)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    # Polygons stay polygons, and run lengths of single objects become some: 0/1 maps of every object at 3072 x 3072
    # would take gigabytes. Crowds are ignored in training either way.
    dict(type="swinv2_dense.LoadInstances", with_bbox=True, with_mask=True, poly2mask=False),
    dict(type="swinv2_dense.InstaBoost"),
    dict(type="RandomResize", scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_type="absolute",
        crop_size=image_size,
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    # Objects that the cut left empty go; a picture that lost all of its objects is drawn again.
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 1e-2)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=test_scale, keep_ratio=True),
    # For the pictures of --show-dir only: the evaluation reads the annotation file itself.
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, poly2mask=False),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]

train_dataloader = dict(
    batch_size=1,  # 64 GPUs x 1 = the paper's 64; raise it where the GPU's memory allows
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/"),
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
        ann_file="annotations/instances_val2017.json",
        data_prefix=dict(img="val2017/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type="CocoMetric",
    ann_file=data_root + "annotations/instances_val2017.json",
    metric=["bbox", "segm"],
    format_only=False,
)
test_evaluator = val_evaluator
