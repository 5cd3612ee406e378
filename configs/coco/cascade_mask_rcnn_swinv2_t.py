# Cascade Mask R-CNN with SwinV2-T on COCO 2017, the paper's ablation recipe.
#
# Source:  arXiv 2111.09883, ablations on COCO and their appendix. Short side 480 to 800, long side up to 1333, window
#          16; AdamW 1e-4, weight decay 0.05, batch 16, 3x; test at 800. The drop path of 0.2 is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/cascade_mask_rcnn_swinv2_t.py 8
# Weights: starts from scratch as it stands; --cfg-options load_from=PATH, a SwinV2-T of any publisher.
# Paper:   box AP 51.1 (51.8 with window 32), reported in the paper, from ImageNet-1K at 256 x 256, window 8. Not
#          reproduced here.
_base_ = [
    "../_base_/models/cascade_mask_rcnn_swinv2.py",
    "../_base_/datasets/coco_instance_ms.py",
    "../_base_/schedules/adamw_3x_batch16.py",
    "../_base_/detection_runtime.py",
]
