# Mask2Former with SwinV2-B on COCO 2017 instances. Beyond the paper.
#
# Source:  as mask2former_swinv2_t.py.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/mask2former_swinv2_b.py 8
# Weights: as mask2former_swinv2_t.py, with a SwinV2-B.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = "./mask2former_swinv2_t.py"

model = dict(backbone=dict(arch="base"), panoptic_head=dict(in_channels=[128, 256, 512, 1024]))
