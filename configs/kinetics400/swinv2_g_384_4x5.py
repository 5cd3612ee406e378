# Testing of video SwinV2-G on 20 views of 384 x 384 pixels, window 24 x 24 x 8: 4 clips, 5 crops of each. Trained by
# swinv2_g_320_stage2.py.
#
# Source:  arXiv 2111.09883, section 4.2. Which 5 crops is not said; here they are spread evenly along the longer side.
# Command: K400_ROOT=data/kinetics400/ tools/dist_test.sh configs/kinetics400/swinv2_g_384_4x5.py \
#              work_dirs/swinv2_g_320_stage2/epoch_5.pth 8
# Paper:   top-1 86.8. Not reproduced here.
_base_ = "./swinv2_g_384_1x1.py"

test_pipeline = [
    dict(type="swinv2_dense.OpenClip"),
    dict(_base_.frames, num_clips=4, test_mode=True),
    dict(type="swinv2_dense.DecodeClip"),
    dict(type="Resize", scale=(-1, 384)),
    dict(type="swinv2_dense.SpreadCrops", size=384, count=5),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs", meta_keys=("filename", "img_shape")),
]
# One clip at a time, and of its 20 views so many at once: memory does not grow with the number of views.
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
model = dict(test_cfg=dict(max_testing_views=4))
