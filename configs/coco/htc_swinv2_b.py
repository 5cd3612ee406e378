# HTC with SwinV2-B on COCO 2017, the paper's HTC++ recipe.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO and its appendix: the recipe that htc_swinv2_t.py spells
#          out. The paper does not say the drop path; 0.3, its own on ADE20K, is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/htc_swinv2_b.py 64 --cfg-options load_from=PATH
# Weights: the paper starts from ImageNet-22K at 192 x 192, window 12: PATH is such a SwinV2-B of any publisher. Without
#          load_from the file starts from scratch.
# Paper:   trained, but no number of it is in the table. Not reproduced here.
_base_ = "./htc_swinv2_t.py"

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.3),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
