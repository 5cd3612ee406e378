# As imagenet_256.py, at 224 x 224 pixels.
_base_ = "./imagenet_256.py"

side = 224
train_pipeline = [
    dict(step, scale=side) if step["type"] == "RandomResizedCrop" else step for step in _base_.train_pipeline
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=side * 256 // 224, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=side),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
