# ImageNet-22K in class folders, at 192 x 192 pixels, with the augmentation of imagenet_256.py.
#
#   IMAGENET22K_ROOT/{train,val}/WNID/*.JPEG, the 21,841 folders of ILSVRC2011fall_whole
import os.path as osp

_base_ = "./imagenet_256.py"

side = 192
num_classes = 21841
root = osp.join("{{'$IMAGENET22K_ROOT:data/imagenet22k/'}}", "")
train_pipeline = [
    dict(step, scale=side) if step["type"] == "RandomResizedCrop" else step for step in _base_.train_pipeline
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=side * 256 // 224, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=side),
    dict(type="PackInputs"),
]
dataset = dict(data_root=root, num_classes=num_classes)
train_dataloader = dict(batch_size=128, dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(batch_size=128, dataset=dict(**dataset, pipeline=test_pipeline))
test_dataloader = val_dataloader
