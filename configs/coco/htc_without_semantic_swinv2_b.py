# HTC without the semantic branch, SwinV2-B, COCO 2017: for data without stuffthingmaps.
#
# Source:  as htc_swinv2_b.py, which says what is the paper's and what is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/htc_without_semantic_swinv2_b.py 8 --auto-scale-lr
# Weights: as htc_swinv2_b.py.
# Paper:   no such row. Not reproduced here.
_base_ = "./htc_without_semantic_swinv2_t.py"

model = dict(
    backbone=dict(arch="base", drop_path_rate=0.3),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
