# UperNet for training at 640 x 640 with a window of 40 tokens: 640 / 16 = 40, stages 3 and 4 are one window each.
_base_ = "./upernet_swinv2.py"

model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(window_size=40),
    test_cfg=dict(crop_size=(640, 640), stride=(427, 427)),
)
