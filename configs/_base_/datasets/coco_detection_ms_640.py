# coco_detection_ms.py at 0.8 of its sizes: a short side of 384 to 640 pixels, the long one at most 1067; tested at 640.
_base_ = "./coco_detection_ms.py"

test_scale = (1067, 640)
multi_scale = dict(type="RandomChoiceResize", scales=[(1067, short) for short in range(384, 641, 32)], keep_ratio=True)

train_pipeline = [*_base_.train_pipeline[:2], multi_scale, *_base_.train_pipeline[3:]]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type="Resize", scale=test_scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
