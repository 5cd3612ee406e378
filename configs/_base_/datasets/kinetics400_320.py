# As kinetics400_256.py, with clips of 320 x 320 pixels.
_base_ = "./kinetics400_256.py"

train_pipeline = [
    dict(type="swinv2_dense.OpenClip"),
    _base_.frames,
    dict(type="swinv2_dense.DecodeClip"),
    dict(type="Resize", scale=(-1, 366)),
    dict(type="RandomResizedCrop"),
    dict(type="Resize", scale=(320, 320), keep_ratio=False),
    dict(type="Flip", flip_ratio=0.5),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs", meta_keys=("filename", "img_shape")),
]
test_pipeline = [
    dict(type="swinv2_dense.OpenClip"),
    dict(_base_.frames, test_mode=True),
    dict(type="swinv2_dense.DecodeClip"),
    dict(type="Resize", scale=(-1, 320)),
    dict(type="CenterCrop", crop_size=320),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs", meta_keys=("filename", "img_shape")),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
