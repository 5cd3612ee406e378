# Mask R-CNN with SwinV2-T on COCO 2017. Beyond the paper.
#
# Source:  the 3x recipe of Mask R-CNN with Swin V1 in mmdet: short side 480 to 800 with DETR's crop, AdamW 1e-4, weight
#          decay 0.05, batch 16, drop path 0.2. Window 16 is that of the SwinV2 paper's ablations.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/mask_rcnn_swinv2_t.py 8
# Weights: starts from scratch as it stands; --cfg-options load_from=PATH, a SwinV2-T of any publisher.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = [
    "../_base_/models/mask_rcnn_swinv2.py",
    "../_base_/datasets/coco_instance_ms_crop.py",
    "../_base_/schedules/adamw_3x_batch16.py",
    "../_base_/detection_runtime.py",
]
