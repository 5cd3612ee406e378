# HTC with SwinV2-L on COCO 2017, the paper's HTC++ recipe.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO and its appendix: the recipe that htc_swinv2_t.py spells
#          out. The paper does not say the drop path; 0.3, its own on ADE20K, is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/htc_swinv2_l.py 64 --cfg-options load_from=PATH
# Weights: the paper starts from ImageNet-22K at 192 x 192, window 12: PATH is such a SwinV2-L of any publisher. Without
#          load_from the file starts from scratch.
# Paper:   box AP 58.8, mask AP 51.1 on val2017 (mini-val), reported in the paper. Not reproduced here.
# Testing: htc_swinv2_l_test_w48.py, htc_swinv2_l_test_ms_w48.py
_base_ = "./htc_swinv2_t.py"

model = dict(
    backbone=dict(arch="large", drop_path_rate=0.3),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
