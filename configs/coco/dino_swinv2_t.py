# DINO with SwinV2-T on COCO 2017. Beyond the paper.
#
# Source:  arXiv 2203.03605, its recipe with Swin-L, 36 epochs and five feature levels: AdamW 1e-4 with the backbone at
#          a tenth of it, weight decay 1e-4, gradients clipped at 0.1, batch 16, drop path 0.2. Unlike there, norms and
#          biases are not decayed. Window 16 is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/dino_swinv2_t.py 8
# Weights: starts from scratch as it stands; --cfg-options load_from=PATH, a SwinV2-T of any publisher.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = [
    "../_base_/models/dino_swinv2.py",
    "../_base_/datasets/coco_detection_ms_crop.py",
    "../_base_/schedules/dino_3x.py",
    "../_base_/detection_runtime.py",
]
