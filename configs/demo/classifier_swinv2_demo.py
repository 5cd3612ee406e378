# A classifier with a small SwinV2 on close-ups of drawn landscapes: the model of configs/imagenet/, made small
#
# Command: swinv2 demo --task classification makes the data and runs this file. Afterwards
#          swinv2 train demo/classifier_swinv2_demo trains it again (CLOSE_UPS_ROOT names the data's
#          folder where it is another one).
import os.path as osp

_base_ = ["../_base_/models/swinv2_classifier.py", "../_base_/classification_runtime.py", "../_base_/demo_runtime.py"]

classes = ("grass", "house", "mountain", "road", "sea", "sky", "tree")  # names of the folders, sorted

model = dict(
    data_preprocessor=dict(num_classes=len(classes)),
    # 64 pixels are 16 x 16 tokens; the last stage has 2 x 2.
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=32, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8)),
        window_size=[4, 4, 4, 2],
        drop_path_rate=0.0,
    ),
    head=dict(num_classes=len(classes), in_channels=256),
    train_cfg=None,
)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(64, 64)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="Resize", scale=(64, 64)), dict(type="PackInputs")]

dataset = dict(
    type="swinv2_dense.ClassFolderImages",
    data_root=osp.join("{{'$CLOSE_UPS_ROOT:work_dirs/demo/classification/data/'}}", ""),
    num_classes=len(classes),
)
train_dataloader = dict(batch_size=32, dataset=dict(**dataset, data_prefix="train", pipeline=train_pipeline))
val_dataloader = dict(batch_size=50, dataset=dict(**dataset, data_prefix="val", test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type="Accuracy", topk=(1,))
test_evaluator = val_evaluator

iterations = 300
train_cfg = dict(type="IterBasedTrainLoop", max_iters=iterations, val_interval=100)
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=20),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=20, end=iterations, T_max=iterations - 20),
]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=iterations, save_best=None), logger=dict(interval=10))
log_processor = dict(by_epoch=False)
