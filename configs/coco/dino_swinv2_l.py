# DINO with SwinV2-L on COCO 2017. Beyond the paper.
#
# Source:  as dino_swinv2_t.py.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/dino_swinv2_l.py 8
# Weights: as dino_swinv2_t.py, with a SwinV2-L.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = "./dino_swinv2_t.py"

model = dict(backbone=dict(arch="large"), neck=dict(in_channels=[192, 384, 768, 1536]))
