# Cascade Mask R-CNN with SwinV2-B on COCO 2017, the paper's ablation recipe.
#
# Source:  as cascade_mask_rcnn_swinv2_t.py; the drop path of 0.3 is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/cascade_mask_rcnn_swinv2_b.py 8
# Weights: as cascade_mask_rcnn_swinv2_t.py, with a SwinV2-B.
# Paper:   no number of it is quoted here. Not reproduced here.
_base_ = "./cascade_mask_rcnn_swinv2_t.py"

model = dict(backbone=dict(arch="base", drop_path_rate=0.3), neck=dict(in_channels=[128, 256, 512, 1024]))
