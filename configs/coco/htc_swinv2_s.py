# HTC with SwinV2-S on COCO 2017, the paper's HTC++ recipe.
#
# Source:  as htc_swinv2_t.py. The paper does this with B and L; S, and its drop path of 0.2, are ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/htc_swinv2_s.py 8 --auto-scale-lr
# Weights: as htc_swinv2_t.py, with a SwinV2-S.
# Paper:   none for S. Not reproduced here.
_base_ = "./htc_swinv2_t.py"

model = dict(backbone=dict(arch="small"))
