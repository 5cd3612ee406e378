# Cascade R-CNN with SwinV2-T on COCO 2017, boxes only, at 640 pixels: a first detector for own data. Beyond the paper.
#
# Source:  the paper's ablation recipe (configs/coco/cascade_mask_rcnn_swinv2_t.py) without masks, at 0.8
#          of its sizes: short side 384 to 640, tested at 640.
#          By swinv2 plan a batch of 2 takes 5.0 GiB, 3.3 with --amp: a GPU of 8 GiB does.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/cascade_rcnn_swinv2_t_640.py 8
#          swinv2 train cascade_rcnn_swinv2_t_640 --data MY_BOXES
# Weights: starts from scratch as it stands; --cfg-options load_from=PATH, a SwinV2-T of any publisher.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = [
    "../_base_/models/cascade_rcnn_swinv2.py",
    "../_base_/datasets/coco_detection_ms_640.py",
    "../_base_/schedules/adamw_3x_batch16.py",
    "../_base_/detection_runtime.py",
]
