# Cascade R-CNN with SwinV2-T on COCO 2017, boxes only, at 800 pixels: a first detector for own data. Beyond the paper.
#
# Source:  the paper's ablation recipe (configs/coco/cascade_mask_rcnn_swinv2_t.py) without masks: short
#          side 480 to 800.
#          By swinv2 plan a batch of 2 takes 4.6 GiB with --amp, 7.1 without: a GPU of 8 GiB does.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/cascade_rcnn_swinv2_t.py 8 --amp
#          swinv2 train cascade_rcnn_swinv2_t --data MY_BOXES --amp
# Weights: starts from scratch as it stands; --cfg-options load_from=PATH, a SwinV2-T of any publisher.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = [
    "../_base_/models/cascade_rcnn_swinv2.py",
    "../_base_/datasets/coco_detection_ms.py",
    "../_base_/schedules/adamw_3x_batch16.py",
    "../_base_/detection_runtime.py",
]
