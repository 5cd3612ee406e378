# The weights of upernet_swinv2_g.py, tested at 896 pixels with a window of 56 tokens: 896 / 16 = 56.
#
# Source:  arXiv 2111.09883, system-level comparison on ADE20K.
# Command: ADE20K_ROOT=data/ade20k/ tools/dist_test.sh configs/ade20k/upernet_swinv2_g_test_896_w56.py CHECKPOINT 8
# Paper:   mIoU 59.3, multi-scale (--tta) 59.9. Not reproduced here.
_base_ = "./upernet_swinv2_g.py"

model = dict(backbone=dict(window_size=56), test_cfg=dict(crop_size=(896, 896), stride=(597, 597)))

test_pipeline = [
    _base_.test_pipeline[0],
    dict(type="Resize", scale=(3584, 896), keep_ratio=True),
    *_base_.test_pipeline[2:],
]
tta_pipeline = [
    _base_.tta_pipeline[0],
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=(int(3584 * ratio), int(896 * ratio)), keep_ratio=True)
                for ratio in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
            ],
            *_base_.tta_pipeline[1].transforms[1:],
        ],
    ),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
