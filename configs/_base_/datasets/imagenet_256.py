# ImageNet-1K in class folders, at 256 x 256 pixels, with the augmentation of the authors' configs.
#
#   IMAGENET_ROOT/{train,val}/WNID/*.JPEG
import os.path as osp

side = 256
num_classes = 1000
mean_bgr, std_bgr = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]

# The authors' colour jitter of 0.4 is not here: timm leaves it out where there is RandAugment, as there is.
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="RandomResizedCrop", scale=side, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    # rand-m9-mstd0.5-inc1
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation="bicubic"),
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.25,
        mode="rand",
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=mean_bgr,
        fill_std=std_bgr,
    ),
    dict(type="PackInputs"),
]
# The short side becomes 256 / 224 of the crop.
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=side * 256 // 224, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=side),
    dict(type="PackInputs"),
]

dataset = dict(
    type="swinv2_dense.ClassFolderImages",
    data_root=osp.join("{{'$IMAGENET_ROOT:data/imagenet/'}}", ""),
    num_classes=num_classes,
)
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(**dataset, data_prefix="train", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(**dataset, data_prefix="val", test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="Accuracy", topk=(1, 5))
test_evaluator = val_evaluator
