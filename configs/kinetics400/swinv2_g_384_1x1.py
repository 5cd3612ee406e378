# Testing of video SwinV2-G on one view of 384 x 384 pixels, window 24 x 24 x 8. Trained by swinv2_g_320_stage2.py.
#
# Source:  arXiv 2111.09883, section 4.2: larger than it was trained, both in pixels and in window.
# Command: K400_ROOT=data/kinetics400/ tools/dist_test.sh configs/kinetics400/swinv2_g_384_1x1.py \
#              work_dirs/swinv2_g_320_stage2/epoch_5.pth 8
# Paper:   top-1 83.4. Not reproduced here.
_base_ = "./swinv2_g_320_stage2.py"

model = dict(backbone=dict(window_size=(8, 24, 24)))
test_pipeline = [
    dict(type="swinv2_dense.OpenClip"),
    dict(_base_.frames, test_mode=True),
    dict(type="swinv2_dense.DecodeClip"),
    dict(type="Resize", scale=(-1, 384)),
    dict(type="CenterCrop", crop_size=384),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs", meta_keys=("filename", "img_shape")),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
