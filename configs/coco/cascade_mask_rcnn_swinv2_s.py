# Cascade Mask R-CNN with SwinV2-S on COCO 2017, the paper's ablation recipe.
#
# Source:  as cascade_mask_rcnn_swinv2_t.py.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/cascade_mask_rcnn_swinv2_s.py 8
# Weights: as cascade_mask_rcnn_swinv2_t.py, with a SwinV2-S.
# Paper:   no number of it is quoted here. Not reproduced here.
_base_ = "./cascade_mask_rcnn_swinv2_t.py"

model = dict(backbone=dict(arch="small"))
