# As imagenet_256.py, at 384 x 384 pixels. Tested on the whole image, squeezed into the square, as the authors do.
_base_ = "./imagenet_256.py"

side = 384
train_pipeline = [
    dict(step, scale=side) if step["type"] == "RandomResizedCrop" else step for step in _base_.train_pipeline
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(side, side), backend="pillow", interpolation="bicubic"),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
