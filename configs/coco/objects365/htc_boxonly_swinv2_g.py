# The box cascade of HTC with SwinV2-G on Objects365 v2: what htc_swinv2_g.py starts from.
#
# Source:  arXiv 2111.09883, system-level comparison on COCO and its appendix. HTC++ without mask branch; short side 800
#          to 1024, window 32; AdamW 1.2e-3, weight decay 0.05, batch 96, 67,500 iterations. The paper does not say the
#          drop path; 0.4, its own on ADE20K, is ours.
# Command: OBJECTS365_ROOT=data/objects365/ tools/dist_train.sh configs/coco/objects365/htc_boxonly_swinv2_g.py 96
# Weights: the paper starts from a classifier, which the authors never released: --cfg-options load_from=PATH takes
#          yours.
# Paper:   no number for this step. Not reproduced here.
_base_ = [
    "../../_base_/models/htc_boxonly_swinv2.py",
    "../../_base_/datasets/objects365v2_detection.py",
    "../../_base_/schedules/adamw_67500.py",
    "../../_base_/detection_runtime_by_iteration.py",
    "../../_base_/strategies/zero1.py",
]

model = dict(
    # 3 billion parameters: activations are computed again in the backward pass (section 3.5).
    backbone=dict(arch="giant", drop_path_rate=0.4, with_cp=True),
    neck=dict(in_channels=[512, 1024, 2048, 4096]),
    roi_head=dict(bbox_head=[dict(head, num_classes=365) for head in _base_.model.roi_head.bbox_head]),
)

# Figure 2 of the paper, drawn every 1000 iterations: features that grow from block to block show early.
default_hooks = dict(amplitude=dict(type="swinv2_dense.AmplitudeHook"))
