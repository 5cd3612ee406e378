# Mask2Former with SwinV2-T on COCO 2017 instances. Beyond the paper.
#
# Source:  arXiv 2112.01527, its recipe with Swin-T: jitter [0.1, 2.0] at 1024 x 1024, AdamW 1e-4 with the backbone at a
#          tenth of it, weight decay 0.05, gradients clipped at 0.01, batch 16, 368,750 iterations, drop path 0.3.
#          Window 16 is ours.
# Command: COCO_ROOT=data/coco/ tools/dist_train.sh configs/coco/mask2former_swinv2_t.py 8
# Weights: starts from scratch as it stands; --cfg-options load_from=PATH, a SwinV2-T of any publisher.
# Paper:   none with SwinV2. Not reproduced here.
_base_ = [
    "../_base_/models/mask2former_instance_swinv2.py",
    "../_base_/datasets/coco_instance_lsj_1024.py",
    "../_base_/schedules/mask2former_50e.py",
    "../_base_/detection_runtime_by_iteration.py",
]

default_hooks = dict(checkpoint=dict(interval=_base_.train_cfg.val_interval))
