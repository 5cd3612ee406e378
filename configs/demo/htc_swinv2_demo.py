# HTC with a small SwinV2 on drawn shapes: the model of configs/coco/htc_swinv2_t.py, small enough for two CPU cores.
#
# Command: swinv2 demo --task detection makes the data and the pre-trained weights, and runs this file. Afterwards
#          swinv2 train demo/htc_swinv2_demo --cfg-options load_from=work_dirs/demo/classifier.pth
#          trains it again (SHAPES_ROOT names the data's folder where it is another one).
import os.path as osp

_base_ = ["../_base_/models/htc_swinv2.py", "../_base_/detection_runtime.py", "../_base_/demo_runtime.py"]

classes = ("circle", "triangle", "square", "star")
grounds = ("grain", "stripes", "checks")
channels = 64

small_head = dict(num_classes=len(classes), in_channels=channels)
small_extractor = dict(out_channels=channels)
roi_head = _base_.model.roi_head
model = dict(
    # 32 wide instead of 96, and a window of 8 instead of 32: a picture of 160 pixels has 40 x 40 tokens. The
    # classifier was trained with a window of 4.
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=32, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8)),
        window_size=8,
        drop_path_rate=0.0,
    ),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=channels),
    rpn_head=dict(in_channels=channels, feat_channels=channels),
    roi_head=dict(
        bbox_roi_extractor=small_extractor,
        bbox_head=[dict(head, **small_head, fc_out_channels=256) for head in roi_head.bbox_head],
        mask_roi_extractor=small_extractor,
        mask_head=[dict(head, **small_head, conv_out_channels=channels) for head in roi_head.mask_head],
        semantic_roi_extractor=small_extractor,
        semantic_head=dict(
            in_channels=channels, conv_out_channels=channels, num_classes=len(classes) + len(grounds), num_convs=2
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=128)),
        rpn_proposal=dict(nms_pre=500, max_per_img=100),
        rcnn=[dict(stage, sampler=dict(stage.sampler, num=32)) for stage in _base_.model.train_cfg.rcnn],
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=100), rcnn=dict(score_thr=0.05, max_per_img=20)),
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True, with_seg=True),
    dict(type="Resize", scale=(160, 160), keep_ratio=True),
    dict(type="RandomFlip", prob=[0.25, 0.25], direction=["horizontal", "vertical"]),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(160, 160), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")),
]

dataset = dict(
    type="CocoDataset",
    data_root=osp.join("{{'$SHAPES_ROOT:work_dirs/demo/data/'}}", ""),  # with or without a slash at the end
    metainfo=dict(classes=classes),
)
train_dataloader = dict(
    batch_size=4,
    num_workers=2,
    dataset=dict(
        **dataset,
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/", seg="stuffthingmaps/train2017/"),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=2,
    dataset=dict(
        **dataset,
        ann_file="annotations/instances_val2017.json",
        data_prefix=dict(img="val2017/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type="CocoMetric",
    ann_file=dataset["data_root"] + "annotations/instances_val2017.json",
    metric=["bbox", "segm"],
)
test_evaluator = val_evaluator

# 360 batches of 4: 4.8 times through the 300 pictures.
iterations = 360
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=120)
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=10.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=50, end=iterations, T_max=iterations - 50),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=iterations), logger=dict(interval=10))
log_processor = dict(by_epoch=False)
