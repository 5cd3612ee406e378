# Images without labels, 192 x 192 pixels, with the masks of SimMIM.
#
#   IMAGES_ROOT: any folder of images, also in folders below it; labels, if any, are not read
import os.path as osp

train_pipeline = [
    dict(type="LoadImageFromFile"),
    # Pillow's, which the authors' torchvision uses: it averages over what it shrinks, where OpenCV's skips pixels.
    dict(type="RandomResizedCrop", scale=192, crop_ratio_range=(0.67, 1.0), backend="pillow", interpolation="bilinear"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="swinv2_dense.BlockMask", mask_patch_size=32, model_patch_size=4, ratio=0.6),
    dict(type="PackInputs", algorithm_keys=["mask"]),
]
train_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="swinv2_dense.UnlabelledImages",
        data_root=osp.join("{{'$IMAGES_ROOT:data/imagenet/train/'}}", ""),
        pipeline=train_pipeline,
    ),
)
