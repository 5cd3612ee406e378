# UperNet with a small SwinV2 on drawn landscapes: the model of configs/ade20k/upernet_swinv2_t.py, small enough for two
# CPU cores, on data in ADE20K's format.
#
# Command: swinv2 demo --task segmentation makes the data and the pre-trained weights, and runs this file. Afterwards
#          swinv2 train demo/upernet_swinv2_demo --cfg-options
#          load_from=work_dirs/demo/segmentation/classifier.pth trains it again (LANDSCAPES_ROOT names the data's folder
#          where it is another one).
import os.path as osp

_base_ = ["../_base_/models/upernet_swinv2.py", "../_base_/segmentation_runtime.py", "../_base_/demo_runtime.py"]

classes = ("sky", "mountain", "sea", "grass", "road", "tree", "house")  # of ADE20K's 150
palette = [[90, 170, 250], [150, 110, 90], [20, 60, 200], [130, 220, 90], [250, 190, 40], [0, 110, 50], [225, 40, 60]]
channels = 64
side = 112

model = dict(
    data_preprocessor=dict(size=(side, side)),
    # 32 wide instead of 96: a picture of 112 pixels has 28 x 28 tokens. The classifier was trained with a window of 8.
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=32, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8)),
        window_size=16,
        drop_path_rate=0.0,
    ),
    decode_head=dict(in_channels=[32, 64, 128, 256], channels=channels, num_classes=len(classes)),
    auxiliary_head=dict(in_channels=128, channels=channels, num_classes=len(classes)),
    test_cfg=dict(crop_size=(side, side), stride=(75, 75)),
)

load_map = dict(type="swinv2_dense.LoadIndexMap", num_classes=150)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    load_map,
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), load_map, dict(type="PackSegInputs")]

dataset = dict(
    type="ADE20KDataset",
    data_root=osp.join("{{'$LANDSCAPES_ROOT:work_dirs/demo/segmentation/data/'}}", ""),
    metainfo=dict(classes=classes, palette=palette),
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        **dataset,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator

# 600 batches of 4: 4.8 times through the 500 pictures.
iterations = 600
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=150)
optim_wrapper = dict(optimizer=dict(lr=2e-3, betas=(0.9, 0.99)))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=20, end=iterations),
]
default_hooks = dict(checkpoint=dict(interval=iterations), logger=dict(interval=10))
