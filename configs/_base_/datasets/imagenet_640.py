# As imagenet_256.py, at 640 x 640 pixels. The paper does not say how it tests; as at 384: the whole image, squeezed.
_base_ = "./imagenet_256.py"

side = 640
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
