# COCO 2017 instances with large-scale jitter at 1024 x 1024, without InstaBoost; tested at the customary 800 x 1333.
_base_ = "./coco_instance_lsj.py"

image_size = (1024, 1024)
test_scale = (1333, 800)

train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomResize", scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_type="absolute",
        crop_size=image_size,
        recompute_bbox=True,
        allow_negative_crop=True,
    ),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 1e-2), by_mask=True),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type="Resize", scale=test_scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(batch_size=2, sampler=dict(type="InfiniteSampler"), dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
