# COCO 2017 instances, multi-scale: a short side of 480 to 800 pixels, the long one at most 1333; tested at 800 x 1333.
_base_ = "./coco_instance_lsj.py"

image_size = None  # a batch is as large as its largest picture
test_scale = (1333, 800)
multi_scale = dict(type="RandomChoiceResize", scales=[(1333, short) for short in range(480, 801, 32)], keep_ratio=True)

train_pipeline = [*_base_.train_pipeline[:2], multi_scale, *_base_.train_pipeline[5:]]
test_pipeline = [
    _base_.test_pipeline[0],
    dict(type="Resize", scale=test_scale, keep_ratio=True),
    *_base_.test_pipeline[2:],
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))  # 8 GPUs x 2 = a batch of 16
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
