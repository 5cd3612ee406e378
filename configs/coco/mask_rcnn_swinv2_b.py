# Mask R-CNN with SwinV2-B on COCO 2017. Beyond the paper.
#
# Source:  as mask_rcnn_swinv2_t.py; the drop path of 0.3 is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/mask_rcnn_swinv2_b.py 8
# Weights: as mask_rcnn_swinv2_t.py, with a SwinV2-B.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = "./mask_rcnn_swinv2_t.py"

model = dict(backbone=dict(arch="base", drop_path_rate=0.3), neck=dict(in_channels=[128, 256, 512, 1024]))
